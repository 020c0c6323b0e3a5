// Where a tensor's elements lie in a file, whatever the format: a run of plain elements, or blocks that are decoded. The
// views above it (ModelTensor) say in which order they are to be taken.

internal import Bytes

/// Elements that can be read at any place.
protocol TensorStorage: Sendable {
    /// Of what `read` gives.
    var dtype: DataType { get }
    /// How they are stored, for messages and tables.
    var encoding: TensorEncoding { get }
    var elementCount: Int { get }
    /// Bytes in the file.
    var byteCount: Int { get }
    /// What all bytes, from the first to the last, must add up to.
    var check: TensorCheck { get }
    /// `'FILE', tensor 'NAME' at byte N`
    var subject: String { get }
    /// The elements `first ..< first + count`, little-endian.
    func read(first: Int, count: Int) throws(Fault) -> [UInt8]
}

/// What a file says of a tensor's bytes as a whole.
enum TensorCheck: Sendable {
    case none
    case digest(Digest)
    /// CRC-32 as zip has it, of what comes before the elements and the elements.
    case crc32(head: UInt32, expected: UInt32)
}

/// A check under way.
struct TensorChecker {
    private let check: TensorCheck
    private let subject: String
    private var hasher = DigestHasher()
    private var crc: UInt32 = 0

    init(_ storage: any TensorStorage) {
        check = storage.check
        subject = storage.subject
        if case .crc32(let head, _) = check { crc = head }
    }

    mutating func update(_ bytes: [UInt8]) {
        switch check {
        case .none: break
        case .digest: hasher.update(bytes)
        case .crc32: crc = bytes.withRawSpan { CRC32.checksum($0, after: crc) }
        }
    }

    func finish() throws(Fault) {
        switch check {
        case .none: break
        case .digest(let expected):
            let found = hasher.finish()
            if found != expected { throw .differingDigest(subject, expected: expected, found: found) }
        case .crc32(_, let expected):
            if crc != expected {
                throw Fault(
                    .badData,
                    "\(subject): crc32 differs: expected \(String(expected, radix: 16)), found \(String(crc, radix: 16))"
                )
            }
        }
    }
}

/// Elements one after the other, as safetensors, npz, llm.c and most types of GGUF have them.
struct PlainStorage: TensorStorage {
    let name: String
    let file: any RangedSource
    /// Byte of the first element.
    let offset: Int
    let dtype: DataType
    let elementCount: Int
    var check = TensorCheck.none

    var encoding: TensorEncoding { .plain(dtype) }
    var byteCount: Int { elementCount * dtype.bitWidth / 8 }
    var subject: String { "\(quoted(file.name)), tensor \(quoted(name)) at byte \(offset)" }

    func read(first: Int, count: Int) throws(Fault) -> [UInt8] {
        try file.read(at: offset + first * dtype.bitWidth / 8, count: count * dtype.bitWidth / 8)
    }
}

/// GGUF's Q8_0: blocks of 32 elements, an f16 scale and 32 signed bytes. Read as float32.
struct Q8Storage: TensorStorage {
    let name: String
    let file: InputFile
    let offset: Int
    /// A multiple of 32.
    let elementCount: Int

    var dtype: DataType { .f32 }
    var encoding: TensorEncoding { .q8_0 }
    var byteCount: Int { elementCount / Q8Block.elements * Q8Block.bytes }
    var check: TensorCheck { .none }
    var subject: String { "\(quoted(file.name)), tensor \(quoted(name)) at byte \(offset)" }

    func read(first: Int, count: Int) throws(Fault) -> [UInt8] {
        let begin = first / Q8Block.elements
        let end = (first + count + Q8Block.elements - 1) / Q8Block.elements
        let blocks = try file.read(at: offset + begin * Q8Block.bytes, count: (end - begin) * Q8Block.bytes)
        let values = Q8Block.decode(blocks)
        let skip = first - begin * Q8Block.elements
        return values[skip..<skip + count].map(\.bitPattern).littleEndianBytes
    }
}

/// Values that are computed and lie in no file: a few.
struct ValueStorage: TensorStorage {
    let subject: String
    let values: [Float]

    var dtype: DataType { .f32 }
    var encoding: TensorEncoding { .plain(.f32) }
    var elementCount: Int { values.count }
    var byteCount: Int { 4 * values.count }
    var check: TensorCheck { .none }

    func read(first: Int, count: Int) throws(Fault) -> [UInt8] {
        values[first..<first + count].map(\.bitPattern).littleEndianBytes
    }
}
