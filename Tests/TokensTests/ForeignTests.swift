// Token files of other programs, written byte by byte here: what they hold comes back, and every way in which they can lie
// is an error that names file and byte. Comparisons with the programs themselves: Tests/python/check_foreign.py.

import Bytes
import SystemPackage
import TestSupport
import Testing
import Tokens

private func bytes<Integer: FixedWidthInteger & BitwiseCopyable>(_ values: [Integer]) -> [UInt8] {
    values.littleEndianBytes
}

/// The files of one input, by name, and what to give to import.
private struct ForeignInput {
    var format: DocumentFormat
    var files: [String: [UInt8]]
    var input: String
    var field = "tokens"
    var endOfDocument: Int?

    /// Writes the files and imports them.
    func documents(vocabulary: Int = 100, _ path: String) throws -> [[UInt32]] {
        for (name, content) in files {
            if let slash = name.lastIndex(of: "/") {
                try FileSystem.makeDirectory(FilePath(path + "/" + name[..<slash]))
            }
            try writeFile(content, to: path + "/" + name)
        }
        var recipe = IngestRecipe(
            inputs: [path + "/" + input], format: format, vocabularySize: vocabulary, endOfDocument: endOfDocument)
        recipe.field = field
        try FileSystem.remove(FilePath(path + "/d"))
        var ingest = try Ingest(recipe, tokenizer: nil, output: path + "/d", resume: false)
        _ = try ingest.run(threads: 1)
        return try readDocuments(try Dataset(path + "/d"))
    }

    func replacing(_ name: String, at offset: Int, _ content: [UInt8]) -> ForeignInput {
        var copy = self
        copy.files[name]!.replaceSubrange(offset..<offset + content.count, with: content)
        return copy
    }

    func cutting(_ name: String, to length: Int) -> ForeignInput {
        var copy = self
        copy.files[name] = Array(copy.files[name]![..<length])
        return copy
    }
}

private let llmc = ForeignInput(
    format: .llmc,
    files: [
        "x.bin": bytes([20_240_520, 1, 5] + [Int32](repeating: 0, count: 253)) + bytes([1, 2, 9, 3, 9] as [UInt16])
    ],
    input: "x.bin", endOfDocument: 9)

private let npy: ForeignInput = {
    let head = Array("{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }".utf8)
    return ForeignInput(
        format: .npy,
        files: [
            "x.npy": [0x93] + Array("NUMPY".utf8) + [1, 0] + bytes([UInt16(head.count)]) + head
                + bytes([1, 2, 3, 4, 5, 6] as [Int32])
        ], input: "x.npy")
}()

/// Documents of two sequences, none, and one; the last two sequences have changed places in `.bin`.
private let megatron = ForeignInput(
    format: .megatron,
    files: [
        "x.bin": bytes([1, 2, 3, 6, 4, 5] as [Int64]),
        "x.idx": Array("MMIDIDX\0\0".utf8) + bytes([1] as [UInt64]) + [5] + bytes([3, 4] as [UInt64])
            + bytes([3, 2, 1] as [Int32]) + bytes([0, 32, 24] as [Int64]) + bytes([0, 2, 2, 3] as [Int64]),
    ], input: "x")

private let datatrove = ForeignInput(
    format: .datatrove,
    files: ["x.ds": bytes([1, 2, 3, 4] as [UInt16]), "x.ds.index": bytes([1, 1, 4] as [UInt64])], input: "x.ds")

private func mdsIndex(
    raw: Int, zip: Int? = nil, name: String = "shard.00000.mds", encoding: String = "ndarray"
) -> String {
    let compressed = zip.map { "{\"basename\": \"\(name).zstd\", \"bytes\": \($0), \"hashes\": {}}" } ?? "null"
    return """
        {"shards": [{"column_encodings": ["int", "\(encoding)"], "column_names": ["id", "tokens"],
        "column_sizes": [8, null], "compression": \(zip == nil ? "null" : "\"zstd:3\""), "format": "mds", "hashes": [],
        "raw_data": {"basename": "\(name)", "bytes": \(raw), "hashes": {}}, "samples": 2, "size_limit": 67108864,
        "version": 2, "zip_data": \(compressed)}], "version": 2}
        """
}

/// Two samples of an int64 and a dynamic array: u16 [1, 2, 3], i8 [7].
private let mdsShard: [UInt8] = {
    let first = bytes([9] as [UInt32]) + bytes([-5] as [Int64]) + [16, 4, 3] + bytes([1, 2, 3] as [UInt16])
    let second = bytes([4] as [UInt32]) + bytes([6] as [Int64]) + [9, 4, 1, 7]
    let start = 4 + 12 + 2
    return bytes([2, start, start + first.count, start + first.count + second.count].map(UInt32.init))
        + Array("{}".utf8)
        + first + second
}()

private let mds = ForeignInput(
    format: .mds,
    files: ["m/index.json": Array(mdsIndex(raw: mdsShard.count).utf8), "m/shard.00000.mds": mdsShard], input: "m")

private func compressed(_ content: [UInt8]) -> [UInt8] { ZstdCompressor(level: 1).frame(of: content) }

struct ForeignTests {
    @Test func handWrittenFilesAreRead() throws {
        try withTemporaryDirectory { path in
            let cutAtNine = try llmc.documents(path)
            #expect(cutAtNine == [[1, 2, 9], [3, 9]])
            var whole = llmc
            whole.endOfDocument = nil
            #expect(try whole.documents(path) == [[1, 2, 9, 3, 9]])
            #expect(try npy.documents(path) == [[1, 2, 3], [4, 5, 6]])
            var cut = npy
            cut.endOfDocument = 4
            #expect(try cut.documents(path) == [[1, 2, 3, 4], [5, 6]])
            #expect(try megatron.documents(path) == [[1, 2, 3, 4, 5], [6]])
            #expect(try datatrove.documents(path) == [[1], [2, 3, 4]])
            #expect(try mds.documents(path) == [[1, 2, 3], [7]])
            let frame = compressed(mdsShard)
            var zipped = mds
            zipped.files = [
                "z/index.json": Array(mdsIndex(raw: mdsShard.count, zip: frame.count).utf8),
                "z/shard.00000.mds.zstd": frame,
            ]
            zipped.input = "z"
            #expect(try zipped.documents(path) == [[1, 2, 3], [7]])
            let lines = ForeignInput(
                format: .idsJSONLines,
                files: [
                    "x.jsonl": Array(
                        "\u{feff}[1, 2]\n\n{\"a\": {\"tokens\": 1}, \"tokens\": [3],\"b\": \"]\"}\r\n[]\n[4]".utf8)
                ],
                input: "x.jsonl")
            #expect(try lines.documents(path) == [[1, 2], [3], [4]])
        }
    }

    /// Cut anywhere, nothing is read as if it were whole.
    @Test func truncationAtEveryLengthIsRefused() throws {
        try withTemporaryDirectory { path in
            for (input, name) in [
                (llmc, "x.bin"), (npy, "x.npy"), (megatron, "x.idx"), (megatron, "x.bin"), (datatrove, "x.ds"),
                (datatrove, "x.ds.index"), (mds, "m/index.json"), (mds, "m/shard.00000.mds"),
            ] {
                let count = input.files[name]!.count
                for length in Array(stride(from: 0, to: count, by: count > 500 ? 37 : 3)) + [count - 1] {
                    #expect(throws: Fault.self, "\(name) cut to \(length)") {
                        try input.cutting(name, to: length).documents(path)
                    }
                }
            }
        }
    }

    /// Any byte of a head may be anything: an error, or ids, and never a trap.
    @Test func changedHeadsNeverTrap() throws {
        try withTemporaryDirectory { path in
            for (input, name, range) in [
                (llmc, "x.bin", 0..<12), (npy, "x.npy", 0..<70), (megatron, "x.idx", 0..<102),
                (datatrove, "x.ds.index", 0..<24), (mds, "m/shard.00000.mds", 0..<mdsShard.count),
            ] {
                for offset in range {
                    for value: UInt8 in [0, 0x7f, 0x80, 0xff] {
                        do { _ = try input.replacing(name, at: offset, [value]).documents(path) } catch is Fault {}
                    }
                }
            }
        }
    }

    @Test func everyLieIsNamed() throws {
        func mdsWith(_ index: String, _ shard: [UInt8] = mdsShard, name: String = "shard.00000.mds") -> ForeignInput {
            var input = mds
            input.files = ["m/index.json": Array(index.utf8), "m/" + name: shard]
            return input
        }
        func line(_ text: String, end: Int? = nil) -> ForeignInput {
            ForeignInput(
                format: .idsJSONLines, files: ["x.jsonl": Array(text.utf8)], input: "x.jsonl", endOfDocument: end)
        }
        func header(_ text: String) -> ForeignInput {
            var input = npy
            input.files["x.npy"] =
                [0x93] + Array("NUMPY".utf8) + [1, 0] + bytes([UInt16(text.utf8.count)]) + Array(text.utf8)
            return input
        }
        let index = mdsIndex(raw: mdsShard.count)
        let bomb = compressed([UInt8](repeating: 0, count: 1 << 24))
        let window: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd, 0, 21 << 3, 1, 0, 0]
        var mustEnd = megatron
        mustEnd.endOfDocument = 6
        let cases: [(ForeignInput, String)] = [
            (llmc.replacing("x.bin", at: 0, [0]), "x.bin' at byte 0: expected an llm.c token file"),
            (llmc.replacing("x.bin", at: 4, [7]), "at byte 4: expected version 1, found 7"),
            (
                llmc.replacing("x.bin", at: 8, [6]),
                "expected 6 ids of 2 bytes to end at byte 1036, the file ends at 1034"
            ),
            (llmc.replacing("x.bin", at: 8, bytes([Int32.max])), "the file ends at 1034"),
            (llmc.replacing("x.bin", at: 8, bytes([-1 as Int32])), "at byte 8: expected a count of ids, found -1"),
            (llmc.replacing("x.bin", at: 1026, [100]), "at byte 1026: id 100 is not below the vocabulary size 100"),
            (npy.replacing("x.npy", at: npy.files["x.npy"]!.count - 4, [255, 255, 255, 255]), ": id -1 is negative"),
            (npy.replacing("x.npy", at: 6, [4]), "at byte 6: expected version 1 to 3, found 4"),
            (npy.replacing("x.npy", at: 8, [255, 255]), "at byte 8: a head of 65535 bytes"),
            (header("{'descr': '>u2', 'fortran_order': False, 'shape': (0,), }"), "found '>u2'"),
            (header("{'descr': '<f4', 'fortran_order': False, 'shape': (0,), }"), "found '<f4'"),
            (
                header("{'descr': '<u8', 'fortran_order': False, 'shape': (4611686018427387904, 2), }"),
                "the shape leaves 63 bits"
            ),
            (header("{'descr': '<u2', 'fortran_order': False, 'shape': (4000000000,), }"), "expected 8000000000 bytes"),
            (header("{'descr': '<u2', 'fortran_order': True, 'shape': (1, 1), }"), "in Fortran order"),
            (header("{'descr': '<u2', 'shape': (1,), }"), "expected 'descr', 'fortran_order' and 'shape'"),
            (header("{'descr': '<u2', 'fortran_order': False, 'shape': (1"), "expected ','"),
            (header("{'descr': [('a', '<u2')], "), "expected a plain type"),
            (megatron.replacing("x.idx", at: 0, [0]), "x.idx' at byte 0: expected a Megatron index"),
            (megatron.replacing("x.idx", at: 9, [2]), "at byte 9: expected version 1, found 2"),
            (megatron.replacing("x.idx", at: 17, [6]), "at byte 17: type 6 holds no ids"),
            (
                megatron.replacing("x.idx", at: 18, bytes([UInt64.max])),
                "at byte 18: an index of 18446744073709551615 sequences"
            ),
            (megatron.replacing("x.idx", at: 26, bytes([UInt64.max / 8])), "does not fill 102 bytes"),
            (megatron.replacing("x.idx", at: 34, bytes([-3 as Int32])), "at byte 34: expected a count"),
            (megatron.replacing("x.idx", at: 34, [4]), "its sequences have 7 ids of 8 bytes"),
            (megatron.replacing("x.idx", at: 46, bytes([-8 as Int64])), "at byte 46: expected a count"),
            (
                megatron.replacing("x.idx", at: 46, bytes([Int64.max])),
                "at byte 46: sequence 0 of 3 ids at byte 9223372036854775807"
            ),
            (megatron.replacing("x.idx", at: 70, [1]), "expected documents of sequences 0 to 3, found 1 to 3"),
            (megatron.replacing("x.idx", at: 78, [3]), "document 1 has sequences 3 to 2 of 3"),
            (megatron.replacing("x.bin", at: 8, bytes([-2 as Int64])), "x.bin' at byte 8: id -2 is negative"),
            (megatron.replacing("x.bin", at: 8, bytes([70_000 as Int64])), "id 70000 is not below"),
            (mustEnd, "expected document 0 to end with the end-of-document id 6, found 5"),
            (
                datatrove.replacing("x.ds.index", at: 8, [0]),
                "at byte 8: expected document 1 to end from id 1 to 4, found 0"
            ),
            (datatrove.replacing("x.ds.index", at: 16, [3]), "fits the 8 bytes"),
            (datatrove.replacing("x.ds.index", at: 16, bytes([UInt64.max])), "at byte 16: expected a count"),
            (datatrove.replacing("x.ds.index", at: 16, bytes([UInt64.max / 2])), "fits the 8 bytes"),
            (mdsWith(mdsIndex(raw: mdsShard.count, name: "../x")), "raw_data.basename: expected a file name"),
            (mdsWith(mdsIndex(raw: mdsShard.count, name: "/etc/passwd")), "raw_data.basename: expected a file name"),
            (mdsWith(mdsIndex(raw: mdsShard.count, name: "a\\u0000")), "raw_data.basename: expected a file name"),
            (mdsWith(mdsIndex(raw: mdsShard.count + 1)), "expected \(mdsShard.count + 1) bytes (from 'index.json')"),
            (mdsWith(index, mdsShard + [0]), "found \(mdsShard.count + 1)"),
            (mdsWith(mdsIndex(raw: 1 << 40)), "raw_data.bytes: expected 0 to 4294967295"),
            (mdsWith(mdsIndex(raw: mdsShard.count, encoding: "str")), "encoding 'str', which holds no ids"),
            (
                mdsWith(mdsIndex(raw: mdsShard.count, encoding: "ndarray:float32")),
                "'ndarray:float32', which holds no ids"
            ),
            (mdsWith(index.replacing("\"mds\"", with: "\"json\"")), "format: expected 'mds', found 'json'"),
            (mdsWith(index.replacing("compression\": null", with: "compression\": \"br\"")), "'br' is not read here"),
            (mdsWith(index.replacing("\"samples\": 2", with: "\"samples\": 3")), "expected 3 samples in"),
            (
                mdsWith(index.replacing("\"samples\": 2", with: "\"samples\": 4000000000")),
                "expected 4000000000 samples in"
            ),
            (mdsWith(index.replacing("\"tokens\"", with: "\"other\"")), "shards[0] has no column 'tokens'"),
            (mdsWith(index.replacing("[8, null]", with: "[8]")), "expected names, encodings and sizes of as many"),
            (mds.replacing("m/shard.00000.mds", at: 4, [0]), "at byte 4: sample 0 cannot begin at byte 0"),
            (mds.replacing("m/shard.00000.mds", at: 8, bytes([UInt32.max])), "at byte 8: expected sample 0 to end"),
            (
                mds.replacing("m/shard.00000.mds", at: 18, bytes([UInt32.max])),
                "at byte 18: sample 0 has 21 bytes, its columns say"
            ),
            (mds.replacing("m/shard.00000.mds", at: 30, [34]), "at byte 30: an array of type 34 holds no ids"),
            (
                mds.replacing("m/shard.00000.mds", at: 31, [8]),
                "at byte 31: expected an array of one dimension, found 2"
            ),
            (
                mds.replacing("m/shard.00000.mds", at: 32, [200]),
                "sample 0 has 6 bytes of u16 ids, expected 200 of them"
            ),
            (
                mdsWith(mdsIndex(raw: 1000, zip: bomb.count), bomb, name: "shard.00000.mds.zstd"),
                "expected 1000 bytes of content, found more"
            ),
            (
                mdsWith(
                    mdsIndex(raw: mdsShard.count, zip: window.count), window, name: "shard.00000.mds.zstd"),
                "zstd: Frame requires too much memory"
            ),
            (
                mdsWith(
                    mdsIndex(raw: mdsShard.count, zip: 5), [1, 2, 3, 4, 5], name: "shard.00000.mds.zstd"), "zstd: "
            ),
            (line("[1]\n[2, -3]"), "x.jsonl', line 2, at byte 8: id -3 is negative"),
            (line("[1]\n{\"tokens\": [100]}"), "line 2, at byte 16: id 100 is not below the vocabulary size 100"),
            (line("[1.5]"), "at byte 1: expected an integer of 64 bits"),
            (line("[99999999999999999999]"), "at byte 1: expected an integer of 64 bits"),
            (line("[1] [2]"), "at byte 4: expected a newline"),
            (line("[1\n"), "expected ',' or ']'"),
            (line("{\"text\": \"a\"}"), "at byte 0: no field 'tokens'"),
            (line("{\"tokens\": [1], \"tokens\": [2]}"), "duplicate key 'tokens'"),
            (line("{\"tokens\": \"1 2\"}"), "expected an array of ids"),
            (line(String(repeating: "{\"a\":", count: 100)), "JSON nested deeper than 64"),
            (
                line("[1, 2]\n[2, 3]\n", end: 2),
                "line 2, at byte 11: expected the line to end with the end-of-document id 2"
            ),
        ]
        try withTemporaryDirectory { path in
            for (input, message) in cases {
                for name in try FileSystem.list(FilePath(path)) { try FileSystem.remove(FilePath(path + "/" + name)) }
                let fault = #expect(throws: Fault.self, "\(message)") { try input.documents(path) }
                #expect(fault?.kind == .badData)
                #expect(fault?.message.contains(message) == true, "\(message): \(fault?.message ?? "")")
                #expect(!exists(path + "/d"))
            }
            // A shard that is a link leads out of the directory as well as a name does.
            _ = try runShell("rm -rf \(path)/*")
            _ = try mds.documents(path)
            _ = try runShell("cd \(path) && mv m/shard.00000.mds elsewhere && ln -s ../elsewhere m/shard.00000.mds")
            var linked = mds
            linked.files = [:]
            let fault = #expect(throws: Fault.self) { try linked.documents(path) }
            #expect(fault?.message.hasSuffix("expected a regular file, found a symbolic link") == true)
        }
    }

    /// A dataset in every format and back: the same shards, byte for byte.
    @Test(arguments: [300, 65_536, 70_000]) func exportsComeBack(vocabulary: Int) throws {
        try withTemporaryDirectory { path in
            let documents = sampleDocuments(count: 60, vocabulary: vocabulary, longest: 3000)
            let long = (0..<140_000).map { UInt32($0 % vocabulary) }
            let dataset = try writeDataset(
                documents + [long, [1], [UInt32](repeating: 2, count: 256)], to: path + "/a", vocabulary: vocabulary,
                shardTokens: 30_000)
            #expect(dataset.shardCount > 2)
            let expected = try readDocuments(dataset)
            for format in ForeignFormat.allCases where format.documentFormat != nil && format != .nanogpt {
                for split in [nil, 20_000] where split == nil || format != .mds {
                    var options = TokenExport.Options(format: format)
                    options.fileTokens = split
                    options.sizeLimit = 20_000
                    options.level = format == .mds ? 3 : nil
                    let keeps = ![.llmc, .npy].contains(format)
                    options.dropsBoundaries = !keeps
                    let name = "\(format.rawValue)-\(split ?? 0)"
                    try TokenExport(dataset, options).run(output: path + "/" + name)
                    let inputs = try runShell(
                        "ls -d \(name)* | grep -v -e index -e metadata -e idx", directory: path
                    ).text.split(separator: "\n").map { path + "/" + $0 }
                    #expect((inputs.count > 3) == (split != nil), "\(inputs)")
                    var recipe = IngestRecipe(
                        inputs: inputs, format: format.documentFormat!, vocabularySize: vocabulary, endOfDocument: nil)
                    recipe.field = "tokens"
                    var ingest = try Ingest(recipe, tokenizer: nil, output: path + "/b-" + name, resume: false)
                    _ = try ingest.run(threads: 2)
                    let back = try readDocuments(try Dataset(path + "/b-" + name))
                    if keeps { #expect(back == expected, "\(name)") }
                    #expect(back.flatMap { $0 } == expected.flatMap { $0 }, "\(name)")
                    #expect(keeps || back.count == inputs.count)
                }
            }
        }
    }

    @Test func whatAFormatCannotHoldIsRefused() throws {
        try withTemporaryDirectory { path in
            let wide = try writeDataset([[1, 69_999], [2]], to: path + "/w", vocabulary: 70_000)
            let narrow = try writeDataset([[1, 2], [3]], to: path + "/n", vocabulary: 10)
            func options(
                _ format: ForeignFormat, _ change: (inout TokenExport.Options) -> Void = { _ in }
            )
                -> TokenExport.Options
            {
                var options = TokenExport.Options(format: format)
                change(&options)
                return options
            }
            for (dataset, options, message) in [
                (wide, options(.nanogpt) { $0.appendedId = 5 }, "nanogpt holds ids below 65536"),
                (narrow, options(.llmc), "does not say where documents end"),
                (narrow, options(.npy), "does not say where documents end"),
                (narrow, options(.npy) { $0.appendedId = 10 }, "end-of-document id 10 is not below"),
                (narrow, options(.text), "which this release cannot decode"),
                (narrow, options(.mds) { $0.fileTokens = 1 }, "--file-tokens is not for mds"),
                (narrow, options(.jsonl) { $0.level = 1 }, "--compress is for mds"),
                (narrow, options(.megatron) { $0.dropsBoundaries = true }, "megatron keeps the ends of documents"),
            ] {
                let fault = #expect(throws: Fault.self, "\(message)") {
                    try TokenExport(dataset, options).run(output: path + "/x")
                }
                #expect(fault?.kind == .usage && fault?.message.contains(message) == true, "\(fault?.message ?? "")")
            }
            try TokenExport(narrow, options(.nanogpt) { $0.appendedId = 9 }).run(output: path + "/x")
            #expect(try readFile(path + "/x") == bytes([1, 2, 9, 3, 9] as [UInt16]))
            try TokenExport(narrow, options(.megatron) { $0.appendedId = 9 }).run(output: path + "/m.bin")
            #expect(try readFile(path + "/m.bin") == bytes([1, 2, 9, 3, 9] as [UInt16]))
            #expect(
                try readFile(path + "/m.idx")
                    == Array("MMIDIDX\0\0".utf8) + bytes([1] as [UInt64]) + [8] + bytes([2, 3] as [UInt64])
                    + bytes([3, 2] as [Int32]) + bytes([0, 6] as [Int64]) + bytes([0, 1, 2] as [Int64]))
            try TokenExport(narrow, options(.datatrove)).run(output: path + "/t.ds")
            #expect(try readFile(path + "/t.ds.index") == bytes([2, 3] as [UInt64]))
            #expect(String(decoding: try readFile(path + "/t.ds.metadata"), as: UTF8.self) == "ids|2\n3\n3 T")
            try TokenExport(narrow, options(.jsonl)).run(output: path + "/j")
            #expect(
                String(decoding: try readFile(path + "/j"), as: UTF8.self) == "{\"tokens\":[1,2]}\n{\"tokens\":[3]}\n")
        }
    }
}
