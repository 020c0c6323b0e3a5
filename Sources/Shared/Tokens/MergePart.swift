// One directory of shards on its way into a merged dataset. What is believed of it is what its sidecars say; its names
// must be numbered without a gap, and a run that has not finished is no part.

internal import Bytes
internal import SystemPackage

struct MergePart: Sendable {
    let name: String
    let path: FilePath
    /// Shards, numbered from 0.
    let shardCount: Int
    let hasManifest: Bool

    /// - Throws: `Fault`: no directory, unfinished, or a gap in its numbers.
    init(_ name: String) throws(Fault) {
        self.name = name
        path = FilePath(name)
        guard FileSystem.kind(of: path) == .directory else {
            throw Fault(.noInput, "cannot open \(quoted(name)): no such directory")
        }
        hasManifest = FileSystem.kind(of: path.appending(DatasetManifest.fileName)) == .file
        if !hasManifest && MergePart.isUnderWay(path) {
            throw .badData(
                name, "the run that makes it has not finished: there is no '\(DatasetManifest.fileName)'",
                hint: "run its command again with --resume")
        }
        var sidecars: [Int] = []
        var shards: [Int] = []
        for file in try FileSystem.list(path) {
            if let number = ShardFormat.number(file, suffix: ".json") { sidecars.append(number) }
            if let number = ShardFormat.number(file, suffix: ".tok.zst") { shards.append(number) }
        }
        sidecars.sort()
        for (expected, found) in sidecars.enumerated() where expected != found {
            throw .badData(
                name,
                "a gap: there is '\(ShardFormat.sidecarName(found))' and no '\(ShardFormat.sidecarName(expected))'")
        }
        if let number = shards.first(where: { $0 >= sidecars.count }) {
            throw .badData(
                name, "'\(ShardFormat.shardName(number))' has no sidecar '\(ShardFormat.sidecarName(number))'")
        }
        shardCount = sidecars.count
        if shardCount == 0 && !hasManifest { throw .badData(name, "there are no sidecars in it") }
    }

    /// Whether tok-shard began this directory: its record lies there, or above `train` and `validation`.
    private static func isUnderWay(_ path: FilePath) -> Bool {
        if FileSystem.kind(of: path.appending(IngestRecord.fileName)) == .file { return true }
        let side = path.lastComponent?.string
        return (side == Ingest.trainName || side == Ingest.validationName)
            && FileSystem.kind(of: path.parent.appending(IngestRecord.fileName)) == .file
    }

    /// What the sidecars say together: the manifest of this part.
    /// - Parameter checksFiles: whether every shard file must be there with the size stated.
    /// - Returns: the manifest, and what each shard's sidecar says was left out, where that is something.
    func read(
        threads: Int, checksFiles: Bool, _ progress: (Int) -> Void
    ) throws -> (manifest: DatasetManifest, leftOut: [Int: LeftOut]) {
        // A manifest that is there knows how many shards there should be, so that a missing last one is noticed too.
        let stated: DatasetManifest? = try hasManifest ? Dataset(name).manifest : nil
        if shardCount == 0, let stated { return (stated, [:]) }
        let first = try Sidecar(reading: file(0))
        let head = first.manifest
        var shards = ShardList()
        var leftOut: [Int: LeftOut] = [:]
        shards.reserveCapacity(shardCount)
        var next = 0
        try orderedParallelMap(
            threads: threads,
            next: { () -> Range<Int>? in
                if next == shardCount { return nil }
                let range = next..<min(next + MergePart.sidecarsAtOnce, shardCount)
                next = range.upperBound
                return range
            },
            makeWorker: {
                { range in
                    var records = ShardList()
                    var leftOut: [Int: LeftOut] = [:]
                    for number in range {
                        let (record, left) = try record(number, like: first, checksFiles: checksFiles)
                        records.append(record)
                        if !left.isEmpty { leftOut[number] = left }
                    }
                    return (records, leftOut)
                }
            },
            emit: { (records: ShardList, left: [Int: LeftOut]) in
                for record in records { shards.append(record) }
                leftOut.merge(left) { $1 }
                progress(shards.count)
            })
        guard shards.totals != nil else {
            throw Fault.badData(name, "the sums over its shards leave 63 bits")
        }
        if let stated, stated.shards != shards {
            throw Fault.badData(
                name,
                stated.shards.count == shards.count
                    ? "'\(DatasetManifest.fileName)' says something else of its shards than their sidecars do"
                    : "'\(DatasetManifest.fileName)' has \(stated.shards.count) shards, there are \(shards.count) sidecars"
            )
        }
        let sum = leftOut.values.reduce(LeftOut()) { $0 + $1 }
        if let stated, stated.leftOut != sum {
            throw Fault.badData(
                name, "'\(DatasetManifest.fileName)' says something else of what was left out than its sidecars do")
        }
        let manifest = DatasetManifest(
            vocabularySize: head.vocabularySize, tokenizer: head.tokenizer, shards: shards, part: head.part,
            leftOut: sum, transform: head.transform)
        return (manifest, leftOut)
    }

    private static let sidecarsAtOnce = 128

    private func file(_ number: Int) -> String { path.appending(ShardFormat.sidecarName(number)).string }

    /// What the sidecar of shard `number` says of it, which must agree with the first one in all else, and of what was left out.
    private func record(
        _ number: Int, like first: Sidecar, checksFiles: Bool
    ) throws(Fault) -> (ShardRecord, LeftOut) {
        let name = file(number)
        let text = try Sidecar.text(name)
        let record: ShardRecord
        var leftOut = first.manifest.leftOut
        if let known = try first.record(of: text, name: name) {
            record = known
        } else {
            let sidecar = try DatasetManifest(parsingSidecar: text, name: name)
            try first.manifest.requireSame(as: sidecar, file(0), name)
            record = sidecar.shards[0]
            leftOut = sidecar.leftOut
        }
        if record.name != ShardFormat.shardName(number) {
            throw .badData(
                name, "expected the sidecar of '\(ShardFormat.shardName(number))', found that of \(quoted(record.name))"
            )
        }
        guard checksFiles else { return (record, leftOut) }
        let shard = path.appending(record.name)
        guard let size = FileSystem.size(of: shard) else {
            throw Fault(
                .noInput, "cannot open \(quoted(shard.string)): no such file",
                hint: "--method none takes the sidecars' word for files that are elsewhere")
        }
        if size != record.bytes {
            throw .badData(shard.string, "expected \(record.bytes) bytes (from its sidecar), found \(size)")
        }
        return (record, leftOut)
    }
}

/// The first sidecar of a part. Most others have the same bytes up to what they say of their shard, so that alone is parsed
/// of them; one that looks different is parsed as a whole.
private struct Sidecar: Sendable {
    let manifest: DatasetManifest
    /// The text up to the object that describes the shard; nil when that is not the last thing in it.
    private let beginning: [UInt8]?

    static func text(_ name: String) throws(Fault) -> [UInt8] {
        try InputFile(FilePath(name)).readAll(limit: 1 << 20)
    }

    init(reading name: String) throws(Fault) {
        let text = try Sidecar.text(name)
        manifest = try DatasetManifest(parsingSidecar: text, name: name)
        var reader = JSONReader(MemorySource(text, name: name))
        try reader.beginObject()
        while let key = try reader.nextKey(), key != "shard" { try reader.skipValue() }
        _ = try reader.nextToken()
        beginning =
            try Sidecar.record(behind: reader.offset, of: text, name: name) == nil
            ? nil : Array(text[..<reader.offset])
    }

    /// nil when `text` must be parsed as a whole.
    func record(of text: [UInt8], name: String) throws(Fault) -> ShardRecord? {
        guard let beginning, text.starts(with: beginning) else { return nil }
        return try Sidecar.record(behind: beginning.count, of: text, name: name)
    }

    /// The shard's record when it stands at `offset`, plainly, and nothing follows but the end of the sidecar.
    private static func record(behind offset: Int, of text: [UInt8], name: String) throws(Fault) -> ShardRecord? {
        var reader = JSONReader(MemorySource(Array(text[offset...]), name: name))
        var list = ShardList()
        guard try reader.plainObject(ShardList.keys, accept: { list.append($0) }), try reader.nextToken() == 0x7d,
            try reader.skip([0x7d]), try reader.nextToken() == nil
        else { return nil }
        return list[0]
    }
}

/// Parts in the order of the merged dataset.
enum MergeOrder {
    typealias Part = (part: MergePart, manifest: DatasetManifest, leftOut: [Int: LeftOut])

    /// Numbered parts (`tok-shard --shard`) by their numbers, which must all be there; others as they were given.
    /// - Throws: `Fault` (bad data) for parts that differ in what one dataset has once, or a missing part.
    static func sorted(_ parts: [Part]) throws(Fault) -> [Part] {
        let first = parts[0]
        for other in parts.dropFirst() {
            try first.manifest.requireSame(as: other.manifest, first.part.name, other.part.name, comparingParts: false)
            if first.manifest.part?.count != other.manifest.part?.count {
                throw difference(
                    first.part.name, other.part.name, "number of parts", count(first.manifest), count(other.manifest))
            }
        }
        // A single unnumbered dataset or any number of them is as it is given.
        guard let count = first.manifest.part?.count else { return parts }
        let sorted = parts.sorted { ($0.manifest.part?.index ?? 0) < ($1.manifest.part?.index ?? 0) }
        for (expected, part) in sorted.enumerated() {
            let found = part.manifest.part?.index ?? 0
            if found < expected {
                throw Fault(
                    .badData,
                    "\(quoted(sorted[expected - 1].part.name)) and \(quoted(part.part.name)) are both part \(found) of \(count)"
                )
            }
            if found > expected { throw Fault(.badData, "a gap: part \(expected) of \(count) is missing") }
        }
        if sorted.count < count { throw Fault(.badData, "a gap: part \(sorted.count) of \(count) is missing") }
        return sorted
    }

    private static func count(_ manifest: DatasetManifest) -> String {
        manifest.part.map { "\($0.count)" } ?? "not numbered"
    }

    static func difference(_ first: String, _ second: String, _ what: String, _ left: String, _ right: String) -> Fault
    {
        Fault(.badData, "\(quoted(first)) and \(quoted(second)) differ in \(what): \(left) and \(right)")
    }
}

extension DatasetManifest {
    /// - Throws: `Fault` (bad data) naming the first thing that one dataset has once and these two have differently.
    fileprivate func requireSame(
        as other: DatasetManifest, _ name: String, _ otherName: String, comparingParts: Bool = true
    ) throws(Fault) {
        if vocabularySize == other.vocabularySize && tokenizer == other.tokenizer && transform == other.transform
            && (!comparingParts || part == other.part)
        {
            return
        }
        func text(_ value: some CustomStringConvertible) -> String { value.description }
        func optional(_ value: (some CustomStringConvertible)?) -> String { value.map(\.description) ?? "none" }
        let (left, right) = (tokenizer, other.tokenizer)
        for (what, mine, theirs) in [
            ("dtype", type.rawValue, other.type.rawValue),
            ("vocabulary size", text(vocabularySize), text(other.vocabularySize)),
            ("transform", optional(transform?.rawValue), optional(other.transform?.rawValue)),
            ("tokenizer", quoted(left.name), quoted(right.name)),
            ("tokenizer file", optional(left.file.map(quoted)), optional(right.file.map(quoted))),
            ("tokenizer sha256", optional(left.sha256), optional(right.sha256)),
            ("end-of-document id", optional(left.endOfDocument), optional(right.endOfDocument)),
            (
                "part", comparingParts ? optional(part.map { "\($0.index) of \($0.count)" }) : "",
                comparingParts ? optional(other.part.map { "\($0.index) of \($0.count)" }) : ""
            ),
        ] where mine != theirs { throw MergeOrder.difference(name, otherName, what, mine, theirs) }
    }
}
