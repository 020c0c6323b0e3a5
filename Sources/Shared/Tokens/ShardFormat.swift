// The constants of docs/formats/dataset.md that reader and writer share.

private import Bytes

enum ShardFormat {
    /// Content of a token frame, except the last one of a shard.
    static let frameBytes = 262_144
    /// No writer needs more for a frame of `frameBytes`; a longer one is refused before it is read.
    static let maximumCompressedFrame = 2 * frameBytes
    static let indexMagic: UInt32 = 0x184D_2A50
    static let indexName = Array("MRIX".utf8)
    static let indexVersion: UInt32 = 1
    /// Of a shard whose frames hold ranks; a rank table follows the header.
    static let rankIndexVersion: UInt32 = 2
    /// Ids in a rank table: those of one and two bytes.
    static let maximumRankTable = 1 << 14
    static let indexHeaderBytes = 32
    static let frameEntryBytes = 24
    static let seekTableMagic: UInt32 = 0x184D_2A5E
    static let seekTableFooterMagic: UInt32 = 0x8F92_EAB1
    static let seekTableDescriptor: UInt8 = 0x80
    static let seekEntryBytes = 12
    static let seekFooterBytes = 9

    static func shardName(_ index: Int) -> String { "shard-\(padded(index)).tok.zst" }
    static func sidecarName(_ index: Int) -> String { "shard-\(padded(index)).json" }

    /// The number in a name that `shardName` or `sidecarName` would make, or nil.
    static func number(_ name: String, suffix: String) -> Int? {
        let prefix = "shard-"
        guard name.hasPrefix(prefix), name.hasSuffix(suffix) else { return nil }
        let digits = name.dropFirst(prefix.count).dropLast(suffix.count)
        guard digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(digits),
            padded(number) == digits
        else { return nil }
        return number
    }

    private static func padded(_ index: Int) -> String {
        let digits = String(index)
        return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
    }
}

/// What a shard's index says of one token frame.
public struct FrameEntry: Sendable, Hashable {
    /// Documents of the shard that end before this frame.
    public var documentsBefore: Int
    /// Token offset in the shard at which the document begins that holds this frame's first token.
    public var documentStart: Int
    /// The token before this frame's first one; 0 for frame 0.
    public var previousToken: UInt32
    /// CRC-32C of this frame's document ends as stored.
    public var endsChecksum: UInt32

    public init(documentsBefore: Int, documentStart: Int, previousToken: UInt32, endsChecksum: UInt32) {
        self.documentsBefore = documentsBefore
        self.documentStart = documentStart
        self.previousToken = previousToken
        self.endsChecksum = endsChecksum
    }
}
