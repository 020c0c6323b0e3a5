// From what a person typed to what a command opens. Every command comes by here, so that `-` is refused everywhere (a
// checkpoint has many files and is read in any order: no pipe could carry it), and a run that stands for another checkpoint
// than its latest says so.

import Bytes
import Checkpoints
import CommandLine
import SystemPackage

/// The path of something to read or write.
/// - Throws: `Fault` (usage) for `-`.
func typedPath(_ name: String) throws(Fault) -> FilePath {
    if name == "-" {
        throw Fault(
            .usage, "'-' is standard input or output, which this command cannot use here: expected a path",
            hint: "'./-' is a file of that name")
    }
    return FilePath(name)
}

extension Checkpoint {
    /// The checkpoint that `name` stands for.
    /// - Parameter deep: of a run, the one that a resume goes on from.
    static func named(_ name: String, deep: Bool = false) throws(Fault) -> Checkpoint {
        try find(typedPath(name), deep: deep) { tellFallBack($0, in: name) }
    }
}

extension ForeignModel {
    /// The model that `name` stands for.
    static func named(_ name: String, configuration: String? = nil) throws(Fault) -> ForeignModel {
        var given: FilePath?
        if let configuration { given = try typedPath(configuration) }
        return try ForeignModel(typedPath(name), configuration: given) { tellFallBack($0, in: name) }
    }
}

/// Says what was passed over, as train-step does.
private func tellFallBack(_ found: RunDirectory.Valid, in name: String) {
    for skipped in found.skipped {
        StandardError.writeLine("ckpt-tool: passed over \(quoted(skipped.name)): \(skipped.reason)")
    }
    StandardError.writeLine(
        "ckpt-tool: \(quoted(name)) stands for step \(found.step)\(found.isLastGood ? ", which is last-good" : "")")
}
