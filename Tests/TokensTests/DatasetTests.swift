// Datasets written and read back, and every way in which a manifest or a shard can lie.

import Bytes
import TestSupport
import Testing
import Tokens

/// Documents of 1 … `longest` ids below `vocabulary`, the same in every run.
func sampleDocuments(count: Int, vocabulary: Int, longest: Int) -> [[UInt32]] {
    var state: UInt64 = 1
    func random(_ bound: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int(state >> 33) % bound
    }
    return (0..<count).map { _ in (0...random(longest)).map { _ in UInt32(random(vocabulary)) } }
}

func writeDataset(
    _ documents: [[UInt32]], to path: String, vocabulary: Int, shardTokens: Int = 100_000_000
) throws -> Dataset {
    let writer = try DatasetWriter(
        path, vocabularySize: vocabulary, tokenizer: TokenizerRecord(name: "ids"), shardTokens: shardTokens, level: 1)
    for document in documents { try writer.append(document) }
    _ = try writer.finish()
    return try Dataset(path)
}

func readDocuments(_ dataset: Dataset) throws -> [[UInt32]] {
    var documents: [[UInt32]] = []
    var current: [UInt32] = []
    try dataset.readDocuments { ids, endsDocument in
        current += ids
        if endsDocument {
            documents.append(current)
            current = []
        }
    }
    #expect(current.isEmpty)
    return documents
}

func verify(_ dataset: Dataset) throws -> [String] {
    var findings: [String] = []
    _ = try dataset.verify(threads: 1, report: { findings.append($0) })
    return findings
}

struct DatasetTests {
    @Test(arguments: [257, 65_536, 65_537, 150_000])
    func documentsComeBack(vocabulary: Int) throws {
        try withTemporaryDirectory { path in
            let documents = sampleDocuments(count: 300, vocabulary: vocabulary, longest: 4000)
            let dataset = try writeDataset(documents, to: path + "/d", vocabulary: vocabulary, shardTokens: 200_000)
            #expect(dataset.type == (vocabulary <= 65_536 ? .u16 : .u32))
            #expect(dataset.shardCount > 2)
            #expect(dataset.manifest.totals.tokens == documents.reduce(0) { $0 + $1.count })
            #expect(try readDocuments(dataset) == documents)
            #expect(try verify(dataset) == [])
            for number in [0, 1, 17, 150, 299] {
                let (index, local) = try #require(dataset.shard(ofDocument: number))
                let shard = try dataset.shard(index)
                var ids: [UInt32] = []
                try shard.readTokens(try shard.tokenRange(ofDocument: local)) { ids += $0 }
                #expect(ids == documents[number])
            }
            #expect(dataset.shard(ofDocument: 300) == nil)
        }
    }

    /// Documents that end exactly on a frame, one longer than three frames, and one-token documents around it.
    @Test func framesAndDocumentsMayEndTogether() throws {
        try withTemporaryDirectory { path in
            let frame = TokenType.u16.tokensPerFrame
            let lengths = [frame, 1, frame - 1, 3 * frame + 5, 1, frame - 6, 2]
            let documents = lengths.enumerated().map { index, length in
                [UInt32](repeating: UInt32(index + 1), count: length)
            }
            let dataset = try writeDataset(documents, to: path + "/d", vocabulary: 300)
            let shard = try dataset.shard(0)
            #expect(shard.frameCount == 7)
            #expect((0..<7).map { shard.documentCount(inFrame: $0) } == [1, 2, 0, 0, 0, 3, 1])
            #expect(
                (0..<7).map { shard.frameEntry($0).documentStart } == [
                    0, frame, 2 * frame, 2 * frame, 2 * frame, 2 * frame, 6 * frame,
                ])
            #expect((0..<7).map { shard.frameEntry($0).previousToken } == [0, 1, 3, 4, 4, 4, 6])
            #expect(try shard.documentEnds(inFrame: 5) == [5, 6, UInt32(frame)])
            #expect(try readDocuments(dataset) == documents)
            #expect(try verify(dataset) == [])
        }
    }

    @Test func anEmptyDatasetIsADataset() throws {
        try withTemporaryDirectory { path in
            let dataset = try writeDataset([], to: path + "/d", vocabulary: 257)
            #expect(dataset.shardCount == 0)
            #expect(try verify(dataset) == [])
        }
    }

    @Test func writerRefusesWhatNoReaderWouldTake() throws {
        try withTemporaryDirectory { path in
            let writer = try DatasetWriter(path + "/d", vocabularySize: 10, tokenizer: TokenizerRecord(name: "ids"))
            #expect(throws: Fault.self) { try writer.append([]) }
            #expect(throws: Fault.self) { try writer.append([9, 10]) }
            try writer.append([9])
            _ = try writer.finish()
            #expect(throws: Fault.self) {
                try DatasetWriter(path + "/d", vocabularySize: 10, tokenizer: TokenizerRecord(name: "ids"))
            }
        }
    }

    /// The digest names the content: not the place, not the shard names.
    @Test func digestIsThatOfTheFormatPage() throws {
        try withTemporaryDirectory { path in
            let dataset = try writeDataset([[1, 2], [3]], to: path + "/d", vocabulary: 10)
            let shard = dataset.manifest.shards[0]
            #expect(dataset.digest == Digest.of("u16 10 -\n3 2 \(shard.sha256)\n"))
            #expect(shard.sha256 == Digest.of(try readFile(path + "/d/shard-00000.tok.zst")))
        }
    }

    @Test(arguments: [
        (#""name": "shard-00000.tok.zst""#, #""name": "../x""#, "file name"),
        (#""name": "shard-00000.tok.zst""#, #""name": "/etc/passwd""#, "file name"),
        (#""name": "shard-00000.tok.zst""#, #""name": "..""#, "file name"),
        (#""name": "shard-00000.tok.zst""#, #""name": "a\u0000b""#, "file name"),
        (#""name": "shard-00000.tok.zst""#, #""name": """#, "file name"),
        (#""version": 1"#, #""version": 2"#, "version: expected 1, found 2"),
        (#""format": "millrace-dataset""#, #""format": "zip""#, "format: expected"),
        (#""dtype": "u16""#, #""dtype": "u32""#, "dtype: expected 'u16'"),
        (#""vocabulary_size": 10"#, #""vocabulary_size": 0"#, "vocabulary_size"),
        (#""vocabulary_size": 10"#, #""vocabulary_size": 99999999999999999999"#, "vocabulary_size"),
        (#""end_of_document": null"#, #""end_of_document": 10"#, "not below the vocabulary size 10"),
        (#""documents": 2"#, #""documents": 3"#, "sum over the shards"),
        (#""tokens": 3"#, #""tokens": 9223372036854775807"#, "sum over the shards"),
        (#""tokens": 3"#, #""tokens": -3"#, "expected an integer"),
        (#""sha256": null"#, #""sha256": "00""#, "64 lower-case hexadecimal digits"),
        (#""file": null"#, #""file": "../t""#, "file name"),
        (#""totals""#, #""total""#, "totals: expected, but missing"),
    ])
    func aLyingManifestIsRefused(found: String, replacement: String, reason: String) throws {
        try withTemporaryDirectory { path in
            _ = try writeDataset([[1, 2], [3]], to: path + "/d", vocabulary: 10)
            var text = String(decoding: try readFile(path + "/d/dataset.json"), as: UTF8.self)
            let range = try #require(text.firstRange(of: found))
            text.replaceSubrange(range, with: replacement)
            try writeFile(text, to: path + "/d/dataset.json")
            let fault = #expect(throws: Fault.self) { try Dataset(path + "/d") }
            #expect(fault?.kind == .badData)
            #expect(fault?.message.contains(reason) == true, "\(fault?.message ?? "")")
        }
    }

    /// The manifest is written and read a shard at a time; it is the JSON of its tree all the same.
    @Test(arguments: [0, 1, 3]) func aManifestInPiecesIsThatOfItsTree(count: Int) throws {
        let records = (0..<count).map {
            ShardRecord(
                name: "shard-0000\($0).tok.zst\"\\", tokens: $0, documents: 2 * $0, frames: 1, bytes: 7,
                sha256: Digest.of("\($0)"))
        }
        for part in [nil, DatasetPart(index: 1, count: 3)] {
            let manifest = DatasetManifest(
                vocabularySize: 10, tokenizer: TokenizerRecord(name: "ids"), shards: records, part: part)
            let sink = MemorySink()
            try manifest.write(to: sink)
            #expect(String(decoding: sink.bytes, as: UTF8.self) == manifest.json.pretty)
            #expect(try DatasetManifest(parsing: sink.bytes, name: "m") == manifest)
            #expect(Array(manifest.shards) == records)
        }
    }

    @Test func repeatedShardNamesAreRefused() throws {
        func manifest(_ names: [String]) -> DatasetManifest {
            DatasetManifest(
                vocabularySize: 10, tokenizer: TokenizerRecord(name: "ids"),
                shards: names.map {
                    ShardRecord(name: $0, tokens: 1, documents: 1, frames: 1, bytes: 1, sha256: Digest.of($0))
                })
        }
        func parse(_ names: [String]) throws -> DatasetManifest {
            try DatasetManifest(parsing: Array(manifest(names).json.pretty.utf8), name: "m")
        }
        #expect(try parse(["b", "a", "c"]).shards.count == 3)
        for names in [["a", "a"], ["a", "b", "a"], ["b", "a", "b"]] {
            let fault = #expect(throws: Fault.self) { try parse(names) }
            #expect(fault?.message.hasSuffix("].name: '\(names[0])' appears twice") == true)
        }
    }

    @Test func partsAreTheListInOrder() {
        for (total, count) in [(10, 3), (2, 5), (0, 4), (7, 7)] {
            let ranges = (0..<count).map { DatasetPart(index: $0, count: count).range(of: total) }
            #expect(ranges.flatMap(Array.init) == Array(0..<total))
            #expect((ranges.map(\.count).max() ?? 0) - (ranges.map(\.count).min() ?? 0) <= 1)
        }
    }

    @Test func whatIsNoDatasetIsSaidSo() throws {
        try withTemporaryDirectory { path in
            #expect(throws: Fault(.noInput, "cannot open '\(path)/none': no such dataset directory")) {
                try Dataset(path + "/none")
            }
            try writeFile("x", to: path + "/file")
            #expect(throws: Fault.self) { try Dataset(path + "/file") }
            let fault = #expect(throws: Fault.self) { try Dataset(path) }
            #expect(fault?.kind == .noInput)
            #expect(fault?.message == "cannot open '\(path)': there is no 'dataset.json' in it")
        }
    }
}
