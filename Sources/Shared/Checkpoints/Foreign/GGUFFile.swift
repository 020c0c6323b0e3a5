// A GGUF file open for reading: metadata and the places of its tensors, every rule checked before anything is believed.

internal import Bytes
internal import SystemPackage

struct GGUFFile {
    static let magic = Array("GGUF".utf8)
    static let defaultAlignment = 32
    /// Names of this many bytes do not fit into ggml's tensors.
    static let nameLimit = 64
    private static let countLimit: UInt64 = 1 << 16

    /// A tensor as the file has it.
    struct Tensor {
        let name: String
        /// Outermost dimension first, the other way round than in the file.
        let shape: [Int]
        let storage: any TensorStorage
    }

    let file: InputFile
    let pairs: [String: GGUFValue]
    let tensors: [Tensor]

    init(_ path: FilePath) throws(Fault) {
        file = try InputFile(path)
        var cursor = GGUFCursor(file)
        guard try cursor.bytes(4).elementsEqual(GGUFFile.magic) else { throw cursor.fault("expected 'GGUF'", at: 0) }
        let version = try cursor.integer(UInt32.self)
        guard (2...3).contains(version) else { throw cursor.fault("expected version 2 or 3, found \(version)", at: 4) }
        let tensorCount = try cursor.integer(UInt64.self)
        let pairCount = try cursor.integer(UInt64.self)
        for (count, what) in [(tensorCount, "tensors"), (pairCount, "pairs of metadata")] {
            if count > GGUFFile.countLimit {
                throw cursor.fault("\(count) \(what), more than \(GGUFFile.countLimit)", at: 8)
            }
            try cursor.require(count, of: 12, what)
        }
        pairs = try GGUFFile.pairs(&cursor, count: Int(pairCount))
        let infos = try GGUFFile.infos(&cursor, count: Int(tensorCount))
        tensors = try GGUFFile.placed(infos, alignment: GGUFFile.alignment(pairs, cursor), end: cursor)
    }

    private static func pairs(_ cursor: inout GGUFCursor, count: Int) throws(Fault) -> [String: GGUFValue] {
        var pairs: [String: GGUFValue] = [:]
        for _ in 0..<count {
            let start = cursor.position
            let key = try cursor.string()
            if key.isEmpty { throw cursor.fault("an empty key", at: start) }
            let value = try cursor.value(try cursor.integer(UInt32.self))
            if pairs.updateValue(value, forKey: key) != nil {
                throw cursor.fault("key \(quoted(key)) is there twice", at: start)
            }
        }
        return pairs
    }

    private static func alignment(_ pairs: [String: GGUFValue], _ cursor: GGUFCursor) throws(Fault) -> Int {
        guard let value = pairs["general.alignment"] else { return defaultAlignment }
        guard case .u32(let alignment) = value, alignment.nonzeroBitCount == 1 else {
            throw cursor.fault("'general.alignment': expected a u32 that is a power of two", at: 0)
        }
        return Int(alignment)
    }

    /// What stands of a tensor before the data.
    private struct Info {
        let name: String
        let shape: [Int]
        let encoding: TensorEncoding
        let elements, bytes: Int
        let offset: UInt64
        let position: Int
    }

    private static func infos(_ cursor: inout GGUFCursor, count: Int) throws(Fault) -> [Info] {
        var infos: [Info] = []
        var names: Set<String> = []
        for _ in 0..<count {
            let start = cursor.position
            let name = try cursor.string()
            let subject = "tensor \(quoted(name))"
            if name.isEmpty || name.utf8.count >= nameLimit {
                throw cursor.fault(
                    "\(subject): a name of \(name.utf8.count) bytes, expected 1 to \(nameLimit - 1)", at: start)
            }
            if !names.insert(name).inserted { throw cursor.fault("\(subject) is there twice", at: start) }
            let dimensions = try cursor.integer(UInt32.self)
            if dimensions > 4 { throw cursor.fault("\(subject) has \(dimensions) dimensions, more than 4", at: start) }
            var shape: [Int] = []
            for _ in 0..<dimensions {
                guard let size = Int(exactly: try cursor.integer(UInt64.self)) else {
                    throw cursor.fault("\(subject) has a dimension that leaves 63 bits", at: start)
                }
                shape.insert(size, at: 0)
            }
            let type = try cursor.integer(UInt32.self)
            guard let encoding = TensorEncoding(ggmlType: type) else {
                throw cursor.fault(
                    "\(subject) has type \(type), expected 0 (F32), 1 (F16), 8 (Q8_0) or 30 (BF16)", at: start)
            }
            guard let elements = TensorEntry.checkedProduct(shape),
                !elements.multipliedReportingOverflow(by: 64).overflow
            else { throw cursor.fault("\(subject) of shape \(shape) leaves 63 bits", at: start) }
            if encoding == .q8_0, (shape.last ?? 1) % Q8Block.elements != 0 {
                throw cursor.fault("\(subject) of shape \(shape): rows of Q8_0 are a multiple of 32", at: start)
            }
            infos.append(
                Info(
                    name: name, shape: shape, encoding: encoding, elements: elements,
                    bytes: encoding.byteCount(elements), offset: try cursor.integer(), position: start))
        }
        return infos
    }

    private static func placed(_ infos: [Info], alignment: Int, end cursor: GGUFCursor) throws(Fault) -> [Tensor] {
        let file = cursor.file
        let dataStart = padded(cursor.position, alignment)
        if dataStart > file.size && !infos.isEmpty {
            throw cursor.fault("expected tensors from byte \(dataStart), found the end of the file", at: file.size)
        }
        var tensors: [Tensor] = []
        // From the beginning of the data: the next offset, and where the last tensor ends.
        var (next, last) = (0, 0)
        for info in infos {
            let subject = "tensor \(quoted(info.name))"
            if info.offset != UInt64(next) {
                throw cursor.fault("\(subject): expected offset \(next), found \(info.offset)", at: info.position)
            }
            if info.bytes > file.size - dataStart - next {
                throw cursor.fault(
                    "\(subject) takes \(info.bytes) bytes from byte \(dataStart + next), found \(max(0, file.size - dataStart - next)): the file is truncated",
                    at: info.position)
            }
            let storage: any TensorStorage
            switch info.encoding {
            case .plain(let dtype):
                storage = PlainStorage(
                    name: info.name, file: file, offset: dataStart + next, dtype: dtype, elementCount: info.elements)
            case .q8_0:
                storage = Q8Storage(
                    name: info.name, file: file, offset: dataStart + next, elementCount: info.elements)
            }
            tensors.append(Tensor(name: info.name, shape: info.shape, storage: storage))
            last = next + info.bytes
            next = padded(last, alignment)
        }
        if !infos.isEmpty, file.size > dataStart + next {
            throw cursor.fault(
                "expected the end of the file after the last tensor, found \(file.size - dataStart - last) more bytes",
                at: dataStart + last)
        }
        return tensors
    }

    static func padded(_ offset: Int, _ alignment: Int) -> Int { (offset + alignment - 1) / alignment * alignment }
}

extension TensorEncoding {
    /// By ggml's numbers; nil for what is not read.
    init?(ggmlType: UInt32) {
        switch ggmlType {
        case 0: self = .plain(.f32)
        case 1: self = .plain(.f16)
        case 8: self = .q8_0
        case 30: self = .plain(.bf16)
        default: return nil
        }
    }

    /// ggml's number; nil for what ggml does not have.
    var ggmlType: UInt32? {
        switch self {
        case .plain(.f32): 0
        case .plain(.f16): 1
        case .plain(.bf16): 30
        case .q8_0: 8
        default: nil
        }
    }
}
