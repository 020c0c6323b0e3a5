// `tok-shard info`: what a dataset holds, for a person or (--json) a program. Reads manifest and indexes; tokens only when
// the most frequent ones are asked for.

internal import ArgumentParser
private import Bytes
private import CommandLine
private import Tokens

struct Info: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what a dataset holds.", discussion: "Example: tok-shard info corpus/train")

    @Flag(help: "One JSON object instead of a table.")
    var json = false
    @Option(help: ArgumentHelp("Count all tokens and show the N most frequent.", valueName: "N"))
    var top: Int?
    @Argument(help: "The dataset directory.")
    var dataset: String

    func run() throws {
        if let top, top < 1 { throw Fault(.usage, "--top \(top): expected at least 1") }
        let dataset = try Dataset(dataset)
        let lengths = try DocumentLengths(dataset)
        var frequent: FrequentTokens?
        if let top {
            var progress = Progress()
            let total = max(1, dataset.manifest.totals.tokens)
            let counts = try TokenCounts(dataset) { done in progress.update { "\(done * 100 / total) %" } }
            progress.clear()
            frequent = try FrequentTokens(dataset, counts, top)
        }
        let text =
            json
            ? object(dataset, lengths, frequent).compact + "\n"
            : table(dataset, lengths) + (frequent.map(table) ?? "")
        try FileSink.standardOutput.write(text)
    }

    private func object(_ dataset: Dataset, _ lengths: DocumentLengths, _ frequent: FrequentTokens?) -> JSON {
        let totals = dataset.manifest.totals
        var object: JSONObject = [
            "path": .string(dataset.path), "digest": .string(dataset.digest.description),
            "dtype": .string(dataset.type.rawValue), "vocabulary_size": .integer(dataset.vocabularySize),
            "tokenizer": dataset.manifest.tokenizer.json,
            "shards": .integer(totals.shards), "tokens": .integer(totals.tokens),
            "documents": .integer(totals.documents), "frames": .integer(totals.frames), "bytes": .integer(totals.bytes),
            "document_length_minimum": .integer(lengths.minimum), "document_length_maximum": .integer(lengths.maximum),
            "document_lengths": .array(
                lengths.buckets.map { ["from": .integer($0.from), "documents": .integer($0.documents)] }),
        ]
        object["transform"] = dataset.manifest.transform.map { .string($0.rawValue) }
        if !dataset.manifest.leftOut.isEmpty { object["left_out"] = dataset.manifest.leftOut.json }
        if let frequent {
            object["distinct_tokens"] = .integer(frequent.distinct)
            object["top_tokens"] = .array(
                frequent.tokens.map {
                    ["id": .integer($0.id), "count": .integer($0.count), "text": $0.text.map(JSON.string) ?? .null]
                })
        }
        return .object(object)
    }

    private func table(_ frequent: FrequentTokens) -> String {
        var text = "\n\(frequent.distinct) distinct tokens, the most frequent:\n"
        text += padded("id", 14) + padded("count", 14) + padded("part", 10) + "  text\n"
        for token in frequent.tokens {
            let part = 100 * Double(token.count) / Double(max(1, frequent.total))
            text +=
                padded("\(token.id)", 14) + padded("\(token.count)", 14) + padded(fixed(part, 2) + " %", 10)
                + (token.text.map { "  " + quoted($0) } ?? "") + "\n"
        }
        return text
    }

    private func table(_ dataset: Dataset, _ lengths: DocumentLengths) -> String {
        let totals = dataset.manifest.totals
        let tokenizer = dataset.manifest.tokenizer
        let stored = Double(totals.tokens * dataset.type.byteCount)
        let documents = Double(max(1, totals.documents))
        var rows = [
            ("digest", dataset.digest.description),
            ("tokenizer", printable(tokenizer.name) + (tokenizer.file.map { " (\(printable($0)))" } ?? "")),
            (
                "vocabulary",
                "\(dataset.vocabularySize) ids, \(dataset.type.rawValue)"
                    + (dataset.manifest.transform.map { " as \($0.rawValue)s" } ?? "")
            ),
            ("end of document", tokenizer.endOfDocument.map { "id \($0)" } ?? "none"),
            ("shards", "\(totals.shards)"),
            ("frames", "\(totals.frames)"),
            ("documents", "\(totals.documents)"),
            ("tokens", "\(totals.tokens)"),
            (
                "bytes",
                totals.bytes == 0 || totals.tokens == 0
                    ? "\(totals.bytes)"
                    : "\(totals.bytes) (\(fixed(stored / Double(totals.bytes), 2)) times smaller than raw)"
            ),
        ]
        if totals.documents > 0 {
            rows.append(
                (
                    "document length",
                    "\(lengths.minimum) to \(lengths.maximum) tokens, mean \(fixed(Double(totals.tokens) / documents, 1))"
                ))
        }
        let leftOut = dataset.manifest.leftOut
        if leftOut.empty > 0 { rows.append(("left out", "\(leftOut.empty) empty documents")) }
        for (reason, label) in [
            (LeftOut.Reason.duplicate, "duplicates"), (.tooShort, "too short"), (.tooLong, "too long"),
        ] where leftOut[reason].documents > 0 {
            rows.append(
                ("left out", "\(leftOut[reason].documents) \(label), \(leftOut[reason].tokens) tokens"))
        }
        var text = ""
        for (label, value) in rows { text += padded(label, 18, right: false) + value + "\n" }
        let most = lengths.buckets.map(\.documents).max() ?? 1
        if !lengths.buckets.isEmpty { text += "\n" + padded("tokens from", 14) + padded("documents", 14) + "\n" }
        for bucket in lengths.buckets {
            let bar = String(repeating: "█", count: (bucket.documents * 40 + most - 1) / most)
            text +=
                padded("\(bucket.from)", 14) + padded("\(bucket.documents)", 14) + (bar.isEmpty ? "" : "  " + bar)
                + "\n"
        }
        return text
    }

    private func padded(_ text: String, _ width: Int, right: Bool = true) -> String {
        let space = String(repeating: " ", count: max(0, width - text.count))
        return right ? space + text : text + space
    }
}

/// The most frequent ids of a dataset, with their text where its tokenizer is at hand.
private struct FrequentTokens {
    let distinct: Int
    let total: Int
    let tokens: [(id: Int, count: Int, text: String?)]

    init(_ dataset: Dataset, _ counts: TokenCounts, _ top: Int) throws {
        let tokenizer = try dataset.manifest.tokenizer.tokenizer(in: dataset.path)
        distinct = counts.distinct
        total = dataset.manifest.totals.tokens
        tokens = counts.top(top).map { id, count in
            let bytes = tokenizer?.decode([UInt32(id)]) ?? []
            return (id, count, bytes.isEmpty ? nil : String(decoding: bytes, as: UTF8.self))
        }
    }
}

/// How long documents are, in powers of two.
private struct DocumentLengths {
    private(set) var minimum = 0
    private(set) var maximum = 0
    private var counts = [Int](repeating: 0, count: 64)

    init(_ dataset: Dataset) throws {
        for index in 0..<dataset.shardCount {
            let shard = try dataset.shard(index)
            for k in 0..<shard.frameCount {
                var begin = shard.frameEntry(k).documentStart
                for end in try shard.documentEnds(inFrame: k) {
                    let next = shard.tokenOffset(ofFrame: k) + Int(end)
                    add(next - begin)
                    begin = next
                }
            }
        }
    }

    private mutating func add(_ length: Int) {
        minimum = minimum == 0 ? length : min(minimum, length)
        maximum = max(maximum, length)
        counts[63 - length.leadingZeroBitCount] += 1
    }

    /// From the first to the last power of two that has documents.
    var buckets: [(from: Int, documents: Int)] {
        guard let first = counts.firstIndex(where: { $0 > 0 }), let last = counts.lastIndex(where: { $0 > 0 }) else {
            return []
        }
        return (first...last).map { (1 << $0, counts[$0]) }
    }
}
