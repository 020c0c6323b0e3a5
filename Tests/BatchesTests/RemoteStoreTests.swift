// A dataset that is no directory: everything is read by name and by range, so what stands behind HTTP could be read alike.

import Batches
import Bytes
import SystemPackage
import Testing
import Tokens

/// Files in memory that note what is read of them.
private final class MemoryStore: FileStore {
    final class File: RangedSource {
        let name: String
        let content: [UInt8]
        let reads: Monitor<[String: [Int]]>

        init(_ name: String, _ content: [UInt8], _ reads: Monitor<[String: [Int]]>) {
            self.name = name
            self.content = content
            self.reads = reads
        }

        var size: Int { content.count }

        func read(at offset: Int, count: Int) throws(Fault) -> [UInt8] {
            guard offset >= 0, count >= 0, offset <= size, count <= size - offset else {
                throw .badData(name, byte: size, "expected \(count) bytes at byte \(offset), found the end")
            }
            reads.update { $0[name, default: []].append(count) }
            return Array(content[offset..<offset + count])
        }
    }

    let name = "memory:"
    private let files: [String: [UInt8]]
    let reads = Monitor<[String: [Int]]>([:])

    init(copying directory: String) throws {
        var files: [String: [UInt8]] = [:]
        for name in try FileSystem.list(FilePath(directory)) {
            files[name] = try InputFile(FilePath(directory + "/" + name)).readAll(limit: 1 << 30)
        }
        self.files = files
    }

    func name(of file: String) -> String { name + file }

    func open(_ file: String) throws(Fault) -> any RangedSource {
        guard let content = files[file] else { throw Fault(.noInput, "there is no \(quoted(name + file))") }
        return File(name + file, content, reads)
    }
}

@Suite struct RemoteStoreTests {
    @Test(arguments: [Order.window, .full]) func aStoreStandsWhereADirectoryDoes(order: Order) throws {
        let directory = try TemporaryDirectory()
        var generator = Generator(state: 61)
        let path = directory.path + "/d"
        try writeDataset(
            path,
            shards: [
                randomDocuments(3000, longest: 200, &generator), randomDocuments(500, longest: 100, &generator),
            ])
        let store = try MemoryStore(copying: path)
        let recipe = Recipe(length: 64, seed: 3, order: order)
        let local = try BatchProducer(try TokenSource([Dataset(path)]), recipe: recipe, rows: 8)
        let remote = try BatchProducer(try TokenSource([Dataset(store)]), recipe: recipe, rows: 8, threads: 3)
        #expect(try remote.run { _ in } == local.run { _ in })
        // Frames and tables, never a whole shard.
        let reads = store.reads.update { $0 }
        let size = try InputFile(FilePath(path + "/shard-00000.tok.zst")).size
        #expect(try #require(reads["memory:shard-00000.tok.zst"]).allSatisfy { $0 < size / 2 })
    }

    @Test func whatIsMissingIsNamed() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/d"
        try writeDataset(path, shards: [[[1, 2, 256]]])
        try FileSystem.remove(FilePath(path + "/shard-00000.tok.zst"))
        let producer = try BatchProducer(
            try TokenSource([Dataset(try MemoryStore(copying: path))]), recipe: Recipe(length: 4), rows: 1)
        #expect { try producer.run { _ in } } throws: {
            ($0 as? Fault)?.message == "there is no 'memory:shard-00000.tok.zst'"
        }
    }
}
