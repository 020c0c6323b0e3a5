// A small shard cut at every length and flipped at every bit-carrying byte: opening and reading all of it, or verify,
// must complain, and nothing may trap.

import Bytes
import TestSupport
import Testing
import Tokens

struct DamageTests {
    /// Three documents over two frames: every table has something to say.
    private func makeShard(_ path: String) throws -> (bytes: [UInt8], record: ShardRecord) {
        let frame = TokenType.u16.tokensPerFrame
        let documents: [[UInt32]] = [[1, 2, 3], (0..<frame).map { UInt32($0 & 1) }, [4, 5, 6, 7]]
        let dataset = try writeDataset(documents, to: path + "/d", vocabulary: 10)
        return (try readFile(dataset.shardPath(0)), dataset.manifest.shards[0])
    }

    /// Opens and reads everything without the manifest's help: size and digest are not looked at.
    @discardableResult private func readAll(_ path: String) throws -> [[UInt32]] {
        let shard = try Shard(path, vocabularySize: 10)
        let decompressor = ZstdDecompressor()
        var read: [[UInt32]] = []
        for k in 0..<shard.frameCount {
            read.append(try shard.tokens(inFrame: k, using: decompressor))
            read.append(try shard.documentEnds(inFrame: k))
        }
        return read
    }

    @Test func truncationAtEveryLengthIsRefused() throws {
        try withTemporaryDirectory { path in
            let (bytes, record) = try makeShard(path)
            #expect(bytes.count < 1000)
            for length in 0..<bytes.count {
                try writeFile(Array(bytes[..<length]), to: path + "/cut")
                #expect(throws: Fault.self, "length \(length)") { try readAll(path + "/cut") }
                #expect(throws: Fault.self) { try Shard(path + "/cut", vocabularySize: 10, expected: record) }
            }
            try writeFile(bytes, to: path + "/whole")
            try readAll(path + "/whole")
            try writeFile(bytes + [0], to: path + "/longer")
            #expect(throws: Fault.self) { try readAll(path + "/longer") }
        }
    }

    @Test func aFlippedBitAnywhereIsFound() throws {
        try withTemporaryDirectory { path in
            let (bytes, _) = try makeShard(path)
            let dataset = try Dataset(path + "/d")
            let whole = try readAll(dataset.shardPath(0))
            var complaints = 0
            for position in bytes.indices {
                for bit in [0, 3, 7] {
                    var damaged = bytes
                    damaged[position] ^= 1 << bit
                    try writeFile(damaged, to: dataset.shardPath(0))
                    do {
                        // A few bits of a zstd frame are not used by its content: they may pass here, where nobody
                        // looks at the digest, but no other token or document end may come of them.
                        #expect(try readAll(dataset.shardPath(0)) == whole, "bit \(bit) of byte \(position)")
                    } catch let fault as Fault {
                        complaints += 1
                        #expect(fault.kind == .badData)
                        #expect(fault.message.contains("shard-00000.tok.zst"))
                    }
                    if bit == 0 { #expect(try verify(dataset).isEmpty == false, "byte \(position)") }
                }
            }
            #expect(complaints > bytes.count * 3 - 20)
        }
    }

    @Test func verifyNamesTheFrame() throws {
        try withTemporaryDirectory { path in
            let (bytes, _) = try makeShard(path)
            let dataset = try Dataset(path + "/d")
            let offset = try dataset.shard(0).byteOffset(ofFrame: 1)
            var damaged = bytes
            damaged[offset + 9] ^= 0x10
            try writeFile(damaged, to: dataset.shardPath(0))
            let findings = try verify(dataset)
            #expect(findings.count == 2)
            #expect(findings[0].contains("bad sha256 of '\(dataset.shardPath(0))'"))
            #expect(findings[1].contains("frame 1 at byte \(offset)"), "\(findings)")
        }
    }

    @Test func idsOutsideTheVocabularyAreNamed() throws {
        try withTemporaryDirectory { path in
            let dataset = try writeDataset([[1, 2, 3], [4, 9]], to: path + "/d", vocabulary: 10)
            let shard = try Shard(dataset.shardPath(0), vocabularySize: 9)
            let fault = #expect(throws: Fault.self) { try shard.tokens(inFrame: 0, using: ZstdDecompressor()) }
            #expect(
                fault?.message.contains("frame 0 at byte 0: token 4 is id 9, not below the vocabulary size 9") == true)
        }
    }

    @Test func aLinkedShardIsRefused() throws {
        try withTemporaryDirectory { path in
            let dataset = try writeDataset([[1]], to: path + "/d", vocabulary: 10)
            try writeFile(try readFile(dataset.shardPath(0)), to: path + "/elsewhere")
            #expect(try runShell("ln -sf \(path)/elsewhere \(dataset.shardPath(0))").status == 0)
            #expect(throws: Fault.self) { try dataset.shard(0) }
            #expect(try verify(dataset).count == 1)
        }
    }

    /// A seek table that promises the sky costs nothing.
    @Test func lyingCountsAreRefusedBeforeAllocation() throws {
        try withTemporaryDirectory { path in
            let (bytes, _) = try makeShard(path)
            for value: UInt32 in [0, 1, 2, 4, 1000, .max] {
                var damaged = bytes
                let field: [UInt8] = (0..<4).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
                damaged.replaceSubrange(bytes.count - 9..<bytes.count - 5, with: field)
                try writeFile(damaged, to: path + "/lie")
                #expect(throws: Fault.self) { try Shard(path + "/lie", vocabularySize: 10) }
            }
        }
    }
}
