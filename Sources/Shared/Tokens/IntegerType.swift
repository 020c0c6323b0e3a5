// The integers in which other programs store ids: eight types, one conversion, which refuses what is no id instead of
// wrapping it (70000 read as u16 is 4464, and −1 read as u32 is 4294967295).

internal import Bytes

/// A little-endian integer type.
enum IntegerType: String, Sendable, CaseIterable {
    case u8, i8, u16, i16, u32, i32, u64, i64

    var byteCount: Int {
        switch self {
        case .u8, .i8: 1
        case .u16, .i16: 2
        case .u32, .i32: 4
        case .u64, .i64: 8
        }
    }

    /// The ids that `bytes` hold, a whole number of them.
    /// - Parameters:
    ///   - name: of the file, for messages; `byte` is where `bytes` begin in it.
    /// - Throws: `Fault` (bad data) naming the byte of the first negative id or one not below the vocabulary size.
    func ids(
        _ bytes: ArraySlice<UInt8>, below vocabularySize: Int, name: String, byte: Int
    ) throws(Fault) -> [UInt32] {
        switch self {
        case .u8: try convert([UInt8](bytes), vocabularySize, name, byte)
        case .i8: try convert([Int8](littleEndianBytes: bytes), vocabularySize, name, byte)
        case .u16: try convert([UInt16](littleEndianBytes: bytes), vocabularySize, name, byte)
        case .i16: try convert([Int16](littleEndianBytes: bytes), vocabularySize, name, byte)
        case .u32: try convert([UInt32](littleEndianBytes: bytes), vocabularySize, name, byte)
        case .i32: try convert([Int32](littleEndianBytes: bytes), vocabularySize, name, byte)
        case .u64: try convert([UInt64](littleEndianBytes: bytes), vocabularySize, name, byte)
        case .i64: try convert([Int64](littleEndianBytes: bytes), vocabularySize, name, byte)
        }
    }

    @inline(__always)
    private func convert<Integer: FixedWidthInteger>(
        _ values: [Integer], _ vocabularySize: Int, _ name: String, _ byte: Int
    ) throws(Fault) -> [UInt32] {
        // A sum of violations and no branch for each: the compiler makes vector code of it.
        let limit = Integer(clamping: vocabularySize - 1)
        var wrong = false
        for value in values { wrong = wrong || value < 0 || value > limit }
        if wrong, let index = values.firstIndex(where: { $0 < 0 || $0 > limit }) {
            let place = byte + index * byteCount
            if values[index] < 0 { throw .badData(name, byte: place, "id \(values[index]) is negative") }
            throw .badData(
                name, byte: place, "id \(values[index]) is not below the vocabulary size \(vocabularySize)")
        }
        return values.map { UInt32(truncatingIfNeeded: $0) }
    }
}

/// A column of integers in a file, read through a window: what an index of a billion documents needs.
struct IntegerColumn {
    private let file: InputFile
    private let offset: Int
    private let type: IntegerType
    let count: Int
    private var window: [UInt8] = []
    private var first = 0

    /// - Parameter offset: of the first integer; all `count` of them must lie in the file.
    init(_ file: InputFile, at offset: Int, count: Int, type: IntegerType) {
        self.file = file
        self.offset = offset
        self.count = count
        self.type = type
    }

    /// Byte of an integer in the file, for messages.
    func byte(_ index: Int) -> Int { offset + index * type.byteCount }

    /// - Throws: `Fault` (bad data) when it is negative or leaves 63 bits.
    mutating func value(_ index: Int) throws(Fault) -> Int {
        precondition((0..<count).contains(index), "\(index) of \(count)")
        let size = type.byteCount
        if index < first || (index - first + 1) * size > window.count {
            first = index
            window = try file.read(at: byte(index), count: min(count - index, 8192) * size)
        }
        let place = (index - first) * size
        let value: Int =
            switch type {
            case .i32: Int(window.littleEndian(at: place, as: Int32.self) ?? -1)
            case .i64: Int(window.littleEndian(at: place, as: Int64.self) ?? -1)
            case .u64: Int(exactly: window.littleEndian(at: place, as: UInt64.self) ?? .max) ?? -1
            default: preconditionFailure("no index has \(rawName)")
            }
        if value < 0 { throw .badData(file.name, byte: byte(index), "expected a count, found a negative or huge one") }
        return value
    }

    private var rawName: String { type.rawValue }
}
