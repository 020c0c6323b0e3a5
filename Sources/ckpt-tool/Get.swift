// One value for a shell: `tok-pack --cursor "$(ckpt-tool get RUN/latest cursor)"`.

import ArgumentParser
import Bytes
import Checkpoints
import CommandLine
import SystemPackage

struct Get: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print one value of state.json, config.json or manifest.json.",
        discussion: """
            EXAMPLE: ckpt-tool get runs/first/latest cursor

            KEY is a dotted path (recipe.seed, files.0.name), looked for in state.json, then config.json, then \
            manifest.json; state.KEY, config.KEY and manifest.KEY look in one of them. A string is printed as it is, \
            anything else as JSON. Of a run it is that of the checkpoint that train-step --resume goes on from, whose digests are \
            recomputed for it. A file of another program (see convert) has the config.json that it would be converted to.
            """)

    @Argument(help: "A checkpoint, a run for its latest, or a file of a readable format.")
    var checkpoint: String

    @Argument(help: "A dotted path.")
    var key: String

    func run() throws {
        let documents = try Checkpoint.whileStanding(typedPath(checkpoint)) {
            // The cursor is asked for to go on: then it must be that of the checkpoint that the resume takes.
            try self.documents(OpenedModel(checkpoint, deep: true))
        }
        for (name, document) in documents {
            let rest = key.hasPrefix(name + ".") ? String(key.dropFirst(name.count + 1)) : nil
            if let value = document.value(at: key) ?? rest.flatMap({ document.value(at: $0) }) {
                try FileSink.standardOutput.write((value.stringValue ?? value.compact) + "\n")
                return
            }
        }
        let known = documents.flatMap { $0.document.objectValue?.keys ?? [] }.map(printable).joined(separator: " ")
        throw Fault(
            .badData, "\(quoted(checkpoint)) has no key \(quoted(key))",
            hint: known.isEmpty ? "it has no configuration" : "its keys are \(known)")
    }

    private func documents(_ opened: OpenedModel) throws -> [(name: String, document: JSON)] {
        [
            ("state", try opened.state()), ("config", try opened.configuration()),
            ("manifest", opened.checkpoint?.manifest?.json),
        ].compactMap { name, document in document.map { (name, $0) } }
    }
}
