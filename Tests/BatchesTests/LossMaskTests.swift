// Loss masks from a separator and from sidecars: the same mask from either, whatever the packing, the order and the place
// of a block in its document.

import Batches
import Bytes
import SystemPackage
import Testing
import Tokens

@Suite struct LossMaskTests {
    /// Documents of random ids, 256 at the end; 7 is the separator and stands in some of them.
    private func documents(_ state: UInt64, longest: Int) -> [[UInt32]] {
        var generator = Generator(state: state)
        return randomDocuments(60, longest: longest, &generator)
    }

    /// The rule, token by token.
    private func marks(_ documents: [[UInt32]]) -> [UInt8] {
        documents.flatMap { document in
            let separator = document.firstIndex(of: 7) ?? document.count
            return document.indices.map { UInt8($0 > separator ? 1 : 0) }
        }
    }

    /// Per target its id and whether it counts, of all real positions, sorted: what no packing changes.
    private func counted(_ batches: [TokenBatch]) throws -> [UInt32: Int] {
        var counts: [UInt32: Int] = [:]
        for batch in batches {
            let mask = try #require(batch.lossMask)
            for row in 0..<batch.rows {
                for position in 0..<Int(batch.segmentEnds[row].last ?? 0) where mask[row * batch.length + position] {
                    counts[batch.targets[row * batch.length + position], default: 0] += 1
                }
                for position in Int(batch.segmentEnds[row].last ?? 0)..<batch.length {
                    #expect(!mask[row * batch.length + position])
                }
            }
        }
        return counts
    }

    @Test(arguments: Request.kinds) func aSeparatorMasksWhatComesBeforeIt(kind: Request) throws {
        let directory = try TemporaryDirectory()
        let documents = documents(31, longest: 900)
        try writeDataset(directory.path + "/d", shards: [Array(documents[..<40]), Array(documents[40...])])
        var expected: [UInt32: Int] = [:]
        for (id, mark) in zip(documents.joined(), marks(documents)) where mark == 1 { expected[id, default: 0] += 1 }
        for length in [8, 100] {
            var request = kind
            (request.length, request.mask) = (length, .after(separator: 7))
            let (batches, end) = try request.stream([directory.path + "/d"])
            #expect(try counted(batches) == expected, "\(kind)")
            request.mask = .all
            #expect(try request.stream([directory.path + "/d"]).end.orderDigest == end.orderDigest)
        }
    }

    /// A document of many blocks: whether its separator came is known in each, in any order.
    @Test(arguments: Request.kinds) func aLongDocumentRemembersItsSeparator(kind: Request) throws {
        let directory = try TemporaryDirectory()
        for place in [3, 200_000, 399_990] {
            let path = directory.path + "/\(place)"
            var long = [UInt32](repeating: 1, count: 400_000)
            long[place] = 7
            try writeDataset(path, shards: [[[2, 3], long, [4, 7, 5, 256]]])
            var request = kind
            (request.length, request.rows, request.mask) = (1000, 8, .after(separator: 7))
            let counts = try counted(try request.stream([path]).batches)
            #expect(counts == [1: 399_999 - place, 5: 1, 256: 1], "\(kind), \(place)")
        }
    }

    @Test(arguments: Request.kinds) func aSidecarSaysTheSame(kind: Request) throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/d"
        let documents = documents(32, longest: 9000)
        try writeDataset(path, shards: [Array(documents[..<40]), Array(documents[40...])])
        var marks = marks(documents)[...]
        try Dataset(path).writeMask { count in
            defer { marks = marks.dropFirst(count) }
            return Array(marks.prefix(count))
        }
        var request = kind
        (request.length, request.mask) = (50, .after(separator: 7))
        let expected = try request.stream([path])
        request.mask = .sidecar(Digest.of(""))
        let found = try request.stream([path])
        #expect(found.batches.map(\.lossMask) == expected.batches.map(\.lossMask))
        #expect(found.end.orderDigest == expected.end.orderDigest)
    }

    @Test func damagedAndForeignMasksAreRefused() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/d"
        let request = Request(mask: .sidecar(Digest.of("")))
        try writeDataset(path, shards: [documents(33, longest: 300)])
        func message() -> String {
            do {
                _ = try request.stream([path])
                return "accepted"
            } catch { return (error as? Fault)?.message ?? "\(error)" }
        }
        #expect(message().hasSuffix("has no loss mask"))
        try Dataset(path).writeMask { [UInt8](repeating: 1, count: $0) }
        #expect(message() == "accepted")
        let file = FilePath(path + "/shard-00000.mask")
        let good = try InputFile(file).readAll(limit: 1 << 20)
        for position in [0, 5, 9, 17, 21, 25, 29, good.count - 1] {
            var damaged = good
            damaged[position] ^= 1
            try AtomicFile.write(damaged, to: file, durable: false)
            #expect(message().contains("shard-00000.mask' at byte"), "\(position)")
        }
        try AtomicFile.write(Array(good.dropLast()), to: file, durable: false)
        #expect(message().contains("expected \(good.count) bytes"))
        try AtomicFile.write(good, to: file, durable: false)
        // Another dataset in its place.
        try FileSystem.remove(FilePath(path + "/shard-00000.tok.zst"))
        try writeDataset(directory.path + "/e", shards: [documents(34, longest: 300)])
        for name in ["shard-00000.tok.zst", "dataset.json"] {
            try AtomicFile.write(
                try InputFile(FilePath(directory.path + "/e/" + name)).readAll(limit: 1 << 20),
                to: FilePath(path + "/" + name), durable: false)
        }
        #expect(message().contains("expected the mask of dataset"))
    }
}
