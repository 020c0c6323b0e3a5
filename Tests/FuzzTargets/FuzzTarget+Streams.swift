// What comes down a pipe or an argument: the batch stream, cursors, and the JSON under everything.

import Batches
import Bytes
import SystemPackage
import Tokens

extension FuzzTarget {
    /// A batch stream to its end. When the byte in front of it is odd its frames get the checks they should have, so that
    /// what is behind a check is tried too.
    func fuzzStream(_ bytes: [UInt8]) throws {
        let (isMended, content) = FuzzScratch.mode(bytes)
        var reader = try BatchStreamReader(
            MemorySource(isMended ? FuzzTarget.framed(content) : content, chunk: 1 << 12))
        while try reader.next() != nil {}
    }

    /// Frames cut where their lengths say; a length that is too long takes the rest.
    private static func framed(_ bytes: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        var start = 0
        while start + 8 < bytes.count {
            let length = Int(bytes.littleEndian(at: start, as: UInt32.self) ?? 0)
            let end = min(start + 8 + length, bytes.count)
            let content = Array(bytes[start + 8..<end])
            let type: FrameType
            switch String(decoding: bytes[start + 4..<start + 8], as: UTF8.self) {
            case "HEAD": type = FrameType("HEAD")
            case "BTCH": type = FrameType("BTCH")
            case "DONE": type = FrameType("DONE")
            default: type = FrameType("WHAT")
            }
            result += Frame(type, content).encoded
            start = end + 4
        }
        return result
    }

    /// A cursor: what is taken is spelled as the same, and is followed for two batches over the kept datasets, or refused.
    func fuzzCursor(_ bytes: [UInt8]) throws {
        let cursor = try Cursor(parsing: String(decoding: bytes, as: UTF8.self))
        if try Cursor(parsing: cursor.description) != cursor { throw BrokenPromise("\(cursor) is another cursor") }
        _ = (cursor.epoch, cursor.block, cursor.row)
        var sources: [TokenSource] = []
        for name in cursor.places.count == 1 ? ["data"] : ["data", "less"] {
            sources.append(try TokenSource([try FuzzTarget.dataset(name)]))
        }
        let weights = ["0.7", "0.3"].compactMap { MixingWeight($0) }
        let recipe = Recipe(length: 8, lanes: sources.count)
        let producer =
            sources.count == 1
            ? try BatchProducer(sources[0], recipe: recipe, rows: 2, epochs: 3, limit: 2, cursor: cursor)
            : try BatchProducer(
                mixing: sources, Mixture(weights) ?? .single, recipe: recipe, rows: 2, epochs: 3, limit: 2,
                cursor: cursor)
        _ = try producer.run { _ = try $0.decoded(producer.head) }
    }

    /// A dataset of the kept inputs, as it should be.
    private static func dataset(_ name: String) throws -> Dataset {
        func kept(_ target: FuzzTarget) throws -> [UInt8] {
            try InputFile(corpus.appending(target.rawValue).appending("valid-" + name)).readAll(limit: 1 << 20)
        }
        return try Dataset(
            MemoryStore(files: [
                DatasetManifest.fileName: kept(.dataset), "shard-00000.tok.zst": Array(kept(.shard).dropFirst()),
            ]))
    }

    /// JSON: what is taken is written as the same, and the reader that never has the whole text agrees.
    func fuzzJSON(_ bytes: [UInt8]) throws {
        let tree = Result { try JSON(parsing: bytes, name: "json") }
        let streamed = Result { try FuzzTarget.streamed(bytes) }
        let passed = Result { try FuzzTarget.passedOver(bytes) }
        let json: JSON
        switch (tree, streamed) {
        case (.success(let one), .success(let other)):
            if one != other { throw BrokenPromise("\(one.compact) was read by pieces as \(other.compact)") }
            try passed.get()
            json = one
        case (.failure(let fault), .failure): throw fault
        case (.success(let json), .failure(let fault)):
            throw BrokenPromise("\(json.compact) was refused by pieces: \(fault)")
        case (.failure(let fault), .success(let json)):
            throw BrokenPromise("\(json.compact) was taken by pieces, not whole: \(fault)")
        }
        for text in [json.compact, json.pretty] where try JSON(parsing: text, name: "again") != json {
            throw BrokenPromise("\(text) is another value")
        }
    }

    private static func streamed(_ bytes: [UInt8]) throws -> JSON {
        var reader = JSONReader(MemorySource(bytes, name: "json", chunk: 3))
        let json = try reader.value()
        try reader.end()
        return json
    }

    private static func passedOver(_ bytes: [UInt8]) throws {
        var reader = JSONReader(MemorySource(bytes, name: "json", chunk: 5))
        try reader.skipValue()
        try reader.end()
    }
}
