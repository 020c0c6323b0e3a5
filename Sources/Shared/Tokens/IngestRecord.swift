// `ingest.json`: the recipe and how far it got. Written after every finished shard, always after the shard itself, so
// that it never promises what is not on the disk. It stays when the dataset is complete, as the record of its making.

internal import Bytes
private import SystemPackage

struct IngestRecord: Equatable {
    static let fileName = "ingest.json"
    private static let format = "millrace-ingest"

    /// How far one dataset got: shards finished, and where its next one begins.
    struct Side: Equatable {
        var shards = 0
        var next = ResumePoint()
    }

    var recipe: JSON
    var sides: [Side]
    var isComplete = false

    func write(in directory: String) throws(Fault) {
        let json: JSON = [
            "format": .string(IngestRecord.format),
            "version": 1,
            "complete": .bool(isComplete),
            "recipe": recipe,
            "progress": .array(
                sides.map { side in
                    var progress: JSONObject = [
                        "shards": .integer(side.shards), "documents": .integer(side.next.document),
                        "empty_documents": .integer(side.next.emptyDocuments),
                        "input": .integer(side.next.position.input), "byte": .integer(side.next.position.offset),
                        "line": .integer(side.next.position.line),
                    ]
                    if !side.next.leftOut.allSatisfy(\.isEmpty) {
                        progress["left_out"] = .array(side.next.leftOut.map(\.json))
                    }
                    return .object(progress)
                }),
        ]
        try AtomicFile.write(Array(json.pretty.utf8), to: FilePath(directory).appending(IngestRecord.fileName))
    }

    /// - Throws: `Fault` when it cannot be understood or is of another recipe.
    init(in directory: String, expecting recipe: JSON, sides count: Int) throws(Fault) {
        let path = FilePath(directory).appending(IngestRecord.fileName)
        let name = path.string
        let json = try JSON(parsing: try InputFile(path).readAll(limit: 1 << 28), name: name)
        guard json["format"]?.stringValue == IngestRecord.format, json["version"]?.intValue == 1,
            let complete = json["complete"]?.boolValue, let stored = json["recipe"],
            let progress = json["progress"]?.arrayValue
        else { throw .badData(name, "not a progress record of version 1") }
        if stored != recipe {
            throw Fault(
                .usage, "cannot resume \(quoted(directory)): \(IngestRecord.difference(stored, recipe))",
                hint: "resume with the options and inputs of the first run, or choose another --output")
        }
        var sides: [Side] = []
        for entry in progress {
            func number(_ key: String) -> Int? { entry[key]?.intValue.flatMap { $0 >= 0 ? $0 : nil } }
            guard let shards = number("shards"), let documents = number("documents"),
                let empty = number("empty_documents"),
                let input = number("input"), let byte = number("byte"), let line = number("line")
            else { throw .badData(name, "progress without one of its counts") }
            var leftOut: [LeftOut] = []
            for stated in entry["left_out"]?.arrayValue ?? [] {
                guard let counts = LeftOut(stated) else { throw .badData(name, "left_out: expected counts") }
                leftOut.append(counts)
            }
            if !leftOut.isEmpty && leftOut.count != count {
                throw .badData(name, "left_out: expected counts of \(count) datasets, found \(leftOut.count)")
            }
            sides.append(
                Side(
                    shards: shards,
                    next: ResumePoint(
                        document: documents, emptyDocuments: empty,
                        position: InputPosition(input: input, offset: byte, line: line), leftOut: leftOut)))
        }
        if sides.count != count { throw .badData(name, "expected progress of \(count) datasets, found \(sides.count)") }
        self.init(recipe: recipe, sides: sides, isComplete: complete)
    }

    init(recipe: JSON, sides: [Side], isComplete: Bool = false) {
        self.recipe = recipe
        self.sides = sides
        self.isComplete = isComplete
    }

    private static func difference(_ stored: JSON, _ asked: JSON) -> String {
        let keys = [asked, stored].flatMap { $0.objectValue.map { Array($0.keys) } ?? [] }
        for key in keys where stored[key] != asked[key] {
            if key == "inputs" { return "the inputs or their sizes have changed" }
            return
                "it was made with \(key) \(stored[key]?.compact ?? "null"), now asked for \(asked[key]?.compact ?? "null")"
        }
        return "the recipes differ"
    }
}
