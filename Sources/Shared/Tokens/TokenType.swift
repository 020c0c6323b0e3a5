// The width of a stored token id. It follows from the vocabulary alone, so that no reader ever has to guess.

internal import Bytes

/// How ids are stored: little-endian, two or four bytes each.
public enum TokenType: String, Sendable, Hashable {
    case u16
    case u32

    /// The narrowest type that holds ids 0 ..< `vocabularySize`.
    public init(vocabularySize: Int) { self = vocabularySize <= 65536 ? .u16 : .u32 }

    /// Bytes a token.
    public var byteCount: Int { self == .u16 ? 2 : 4 }

    /// Tokens in every frame of a shard but its last.
    public var tokensPerFrame: Int { ShardFormat.frameBytes / byteCount }

    /// The stored form of ids, which must fit.
    func stored(_ ids: ArraySlice<UInt32>) -> [UInt8] {
        self == .u16 ? ids.map { UInt16(truncatingIfNeeded: $0) }.littleEndianBytes : Array(ids).littleEndianBytes
    }

    /// The ids whose stored form these bytes are, a whole number of them.
    public func ids(stored bytes: ArraySlice<UInt8>) -> [UInt32] {
        self == .u16
            ? [UInt16](littleEndianBytes: bytes).map(UInt32.init) : [UInt32](littleEndianBytes: bytes)
    }
}
