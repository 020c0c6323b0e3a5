// run.json: what does not change while a run goes, so that a metrics line need not repeat it.

public import Bytes
public import SystemPackage

/// What a run was made of, and by what (docs/formats/metrics.md).
public struct RunDescription: Sendable, Equatable {
    /// The file's name in a run's directory.
    public static let fileName = "run.json"
    public static let schemaVersion = 1

    public var millraceVersion: String
    /// Of the process that trained last, the program's name first.
    public var commandLine: [String]
    /// When that process began: seconds since 1970.
    public var started: Double
    /// The data's digest as the batch stream's HEAD names it.
    public var datasetDigest: String?
    /// The model's configuration and the recipe, as the caller spells them.
    public var config: JSONObject
    /// How the run is watched over, for a resume to go on with: validation, intervals.
    public var options: JSONObject

    public init(
        millraceVersion version: String = Bytes.millraceVersion, commandLine: [String] = Swift.CommandLine.arguments,
        started: Double = Host.wallClock, datasetDigest: String?,
        config: JSONObject, options: JSONObject = JSONObject()
    ) {
        self.millraceVersion = version
        self.commandLine = commandLine
        self.started = started
        self.datasetDigest = datasetDigest
        self.config = config
        self.options = options
    }

    public var json: JSON {
        [
            "schema_version": .integer(RunDescription.schemaVersion),
            "millrace_version": .string(millraceVersion),
            "command_line": .array(commandLine.map(JSON.string)),
            "started": .string(Host.timestamp(started)),
            "host": [
                "name": .string(Host.name), "processors": .integer(Host.processors),
                "memory_bytes": .integer(Host.memory),
            ],
            "dataset_digest": datasetDigest.map(JSON.string) ?? .null,
            "config": .object(config), "options": .object(options),
        ]
    }

    /// Writes `directory`/run.json, replacing an older one in one rename.
    /// - Throws: `Fault` when the file cannot be written.
    public func write(run directory: FilePath) throws(Fault) {
        try AtomicFile.write(Array(json.pretty.utf8), to: directory.appending(RunDescription.fileName))
    }

    /// The `options` that `directory`/run.json keeps; an empty object when there is no such file.
    /// - Throws: `Fault` (bad data) for a file that is no JSON.
    public static func options(run directory: FilePath) throws(Fault) -> JSON {
        try json(run: directory)?["options"] ?? [:]
    }

    /// `directory`/run.json as it stands there; nil when there is no such file.
    /// - Throws: `Fault` (bad data) for a file that is no JSON object.
    public static func json(run directory: FilePath) throws(Fault) -> JSONObject? {
        let path = directory.appending(fileName)
        if FileSystem.kind(of: path) == nil { return nil }
        let json = try JSON(parsing: try InputFile(path).readAll(limit: 1 << 24), name: path.string)
        guard let object = json.objectValue else { throw .badData(path.string, "expected a JSON object") }
        return object
    }
}
