// Which tokens of a dataset count in the loss, one bit a token, in sidecars beside its shards (docs/formats/dataset.md,
// Loss masks). They are no part of the dataset and do not change its digest: the same tokens may be learned from in more
// than one way.

public import Bytes

/// The mask of one shard, opened for reading at any token.
public struct ShardMask: Sendable {
    private let file: any RangedSource
    private let tokenCount: Int
    private let tokensPerFrame: Int
    private let checksums: [UInt32]

    /// Bytes before the bits of the first frame.
    private var bitsOffset: Int { LossMaskFormat.headerBytes + 4 * checksums.count + 4 }

    /// - Parameters:
    ///   - expected: what the mask's manifest says of it.
    ///   - shard: the shard it belongs to.
    init(
        _ file: any RangedSource, expected: LossMaskManifest.Record, shard: ShardRecord, type: TokenType
    ) throws(Fault) {
        let frames = LossMaskFormat.frames(tokens: shard.tokens, type: type)
        let size = LossMaskFormat.size(tokens: shard.tokens, type: type)
        if file.size != size || expected.bytes != size {
            throw .badData(
                file.name, byte: min(file.size, size),
                "expected \(size) bytes for the mask of \(shard.tokens) tokens, found \(file.size)")
        }
        let head = try file.read(at: 0, count: LossMaskFormat.headerBytes + 4 * frames + 4)
        let count = head.count - 4
        let (stored, found): (UInt32, UInt32) = (
            head.littleEndian(at: count) ?? 0, CRC32C.checksum(head, in: 0..<count)
        )
        if stored != found {
            throw .badData(
                file.name, byte: count,
                "bad checksum of the mask's header: expected \(hexadecimal32(stored)), found \(hexadecimal32(found))")
        }
        guard Array(head[0..<4]) == LossMaskFormat.name, head.littleEndian(at: 4, as: UInt32.self) == 1,
            head.littleEndian(at: 8, as: UInt64.self) == UInt64(shard.tokens),
            head.littleEndian(at: 16, as: UInt32.self) == UInt32(type.tokensPerFrame),
            head.littleEndian(at: 20, as: UInt32.self) == UInt32(frames)
        else { throw .badData(file.name, byte: 0, "expected the loss mask of \(shard.tokens) tokens, version 1") }
        self.file = file
        tokenCount = shard.tokens
        tokensPerFrame = type.tokensPerFrame
        checksums = [UInt32](littleEndianBytes: head[LossMaskFormat.headerBytes..<count])
    }

    /// 1 for each token of the range that counts, else 0.
    /// - Throws: `Fault` (bad data) for a bad checksum, naming the byte.
    public func counts(of range: Range<Int>) throws(Fault) -> [UInt8] {
        precondition(range.lowerBound >= 0 && range.upperBound <= tokenCount, "tokens \(range) of \(tokenCount)")
        var counts: [UInt8] = []
        counts.reserveCapacity(range.count)
        var frame = range.lowerBound / tokensPerFrame
        while frame * tokensPerFrame < range.upperBound {
            let first = frame * tokensPerFrame
            let tokens = min(tokensPerFrame, tokenCount - first)
            let offset = bitsOffset + frame * (tokensPerFrame / 8)
            let bits = try file.read(at: offset, count: (tokens + 7) / 8)
            let found = CRC32C.checksum(bits)
            if found != checksums[frame] {
                throw .badData(
                    file.name, byte: offset,
                    "bad checksum of the mask of frame \(frame): expected \(hexadecimal32(checksums[frame])), "
                        + "found \(hexadecimal32(found))")
            }
            for token in max(0, range.lowerBound - first)..<min(tokens, range.upperBound - first) {
                counts.append(bits[token >> 3] >> UInt8(token & 7) & 1)
            }
            frame += 1
        }
        return counts
    }
}

enum LossMaskFormat {
    static let name = Array("MRLM".utf8)
    static let headerBytes = 24

    /// Whatever number of tokens a manifest states, nothing here leaves 63 bits.
    static func frames(tokens: Int, type: TokenType) -> Int {
        tokens / type.tokensPerFrame + (tokens % type.tokensPerFrame == 0 ? 0 : 1)
    }

    static func size(tokens: Int, type: TokenType) -> Int {
        headerBytes + 4 * frames(tokens: tokens, type: type) + 4 + tokens / 8 + (tokens % 8 == 0 ? 0 : 1)
    }

    /// `shard-00000.tok.zst` → `shard-00000.mask`.
    static func maskName(_ shard: String) -> String {
        (shard.hasSuffix(".tok.zst") ? String(shard.dropLast(8)) : shard) + ".mask"
    }
}

extension Dataset {
    /// The loss mask of a shard that has tokens.
    /// - Parameter manifest: that of this dataset's masks.
    /// - Throws: `Fault`: no such file (no input), or one that is not this shard's (bad data).
    public func mask(_ index: Int, _ manifest: LossMaskManifest) throws(Fault) -> ShardMask {
        let record = manifest.shards[index]
        return try ShardMask(
            try store.open(record.name), expected: record, shard: self.manifest.shards[index], type: type)
    }
}
