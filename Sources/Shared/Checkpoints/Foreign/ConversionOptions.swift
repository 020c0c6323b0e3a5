// What a person may ask of a conversion.

public import Bytes

/// How a model is written.
public struct ConversionOptions: Sendable {
    /// What floating-point tensors are stored as.
    public enum Target: String, Sendable, CaseIterable {
        case f32, f16, bf16, q8_0

        var encoding: TensorEncoding {
            switch self {
            case .f32: .plain(.f32)
            case .f16: .plain(.f16)
            case .bf16: .plain(.bf16)
            case .q8_0: .q8_0
            }
        }
    }

    /// nil keeps each tensor's type.
    public var target: Target?
    /// Bytes of tensors a safetensors file holds at most, unless one tensor is larger.
    public var shardSize = 5_000_000_000
    /// Whether a file that is there already may be replaced.
    public var replaces = false

    public init() {}

    /// A number of bytes, or one that ends in KB, MB, GB, TB (powers of 1000), KiB, MiB, GiB or TiB.
    /// - Throws: `Fault` (usage).
    public static func byteCount(_ text: String) throws(Fault) -> Int {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        let units = ["": 1, "B": 1, "KB": 1000, "MB": 1_000_000, "GB": 1_000_000_000, "TB": 1_000_000_000_000]
        let binary = ["KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40]
        let unit = text.dropFirst(digits.count).uppercased()
        guard let count = Int(digits), count > 0, let scale = units[unit] ?? binary[unit] else {
            throw Fault(.usage, "\(quoted(text)) is no size", hint: "sizes are like 5GB, 500MB or 64MiB")
        }
        let (bytes, overflow) = count.multipliedReportingOverflow(by: scale)
        if overflow { throw Fault(.usage, "\(quoted(text)) is more than can be counted") }
        return bytes
    }

    /// What a tensor is stored as where the format holds plain elements: as asked when it is floating-point, else as it is.
    func plainType(of tensor: ModelTensor) -> DataType {
        guard let target, DataType.floatingPoint.contains(tensor.dtype) else { return tensor.dtype }
        return target.encoding.dtype
    }

    /// Refuses Q8_0 where only plain elements are held.
    func requirePlain(_ format: String) throws(Fault) {
        if target == .q8_0 { throw Fault(.usage, "\(format) has no type q8_0", hint: "gguf has") }
    }
}

extension DataType {
    /// Those that convert into each other.
    static let floatingPoint: Set<DataType> = [.f64, .f32, .bf16, .f16]
}
