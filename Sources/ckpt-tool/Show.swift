// The checkpoint at a glance: where the run stood, what the model is, what lies on the disk.

import ArgumentParser
import Bytes
import Checkpoints
import CommandLine
import SystemPackage

struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show step, configuration, files and tensors.",
        discussion: """
            EXAMPLE: ckpt-tool show --json runs/first/latest | jq .parameters

            Any readable format may be shown (see convert). With --tree the tensors by the dots of their names, with \
            parameters and bytes of every branch.
            """)

    @Flag(help: "Print one JSON object.")
    var json = false

    @Flag(help: "The tensors as a tree.")
    var tree = false

    @Option(help: ArgumentHelp("Levels of the tree to show.", valueName: "n"))
    var depth: Int?

    @Argument(help: "A checkpoint, a run for its latest, or a file of a readable format.")
    var checkpoint: String

    func run() throws {
        if let depth, depth < 0 || !tree { throw Fault(.usage, "--depth is \(depth), expected 0 or more, with --tree") }
        if tree {
            let model = try ForeignModel.named(checkpoint)
            let root = Tree(model.path.string, model.tensors)
            let text = json ? root.json(depth: depth ?? 64).compact + "\n" : root.text(depth: depth ?? 64)
            return try FileSink.standardOutput.write(text)
        }
        let report = try Checkpoint.whileStanding(typedPath(checkpoint)) { try Report(OpenedModel(checkpoint)) }
        try FileSink.standardOutput.write(json ? report.json.compact + "\n" : report.text)
    }
}

/// What `show` says, before it is laid out.
private struct Report {
    let opened: OpenedModel
    let configuration: JSON?
    let state: JSON?
    let files: [(name: String, bytes: Int)]

    /// Configuration keys worth a line, Llama's spelling and GPT-2's.
    private static let configurationKeys = [
        "model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
        "intermediate_size", "vocab_size", "max_position_embeddings", "tie_word_embeddings", "n_embd", "n_layer",
        "n_head", "n_positions", "lora",
    ]

    init(_ opened: OpenedModel) throws {
        self.opened = opened
        configuration = try opened.configuration()
        state = try opened.state()
        switch opened {
        case .checkpoint(let checkpoint):
            files = try checkpoint.fileNames().compactMap { name in
                let path = checkpoint.path.appending(name)
                return FileSystem.kind(of: path) == .file ? (name, try InputFile(path).size) : nil
            }
        case .file(let model):
            files = [(model.path.lastComponent?.string ?? model.path.string, try InputFile(model.path).size)]
        }
    }

    var summary: JSONObject {
        var summary = JSONObject()
        for key in Report.configurationKeys { summary[key] = configuration?[key] }
        return summary
    }

    var parameterCount: Int { opened.tensors.reduce(0) { $0 + $1.elementCount } }

    var json: JSON {
        var fileSizes = JSONObject()
        for file in files { fileSizes[file.name] = .integer(file.bytes) }
        return [
            "path": .string(opened.path.string), "format": .string(opened.format.rawValue),
            "foreign": .bool(opened.isForeign),
            "step": state?["step"] ?? .null, "tokens": state?["tokens"] ?? .null,
            "parameters": .integer(parameterCount), "configuration": .object(summary),
            "files": .object(fileSizes), "model": Report.json(opened.tensors),
            "optimizer": opened.checkpoint?.optimizer.map { Report.json($0.tensors) } ?? .null,
        ]
    }

    private static func json(_ tensors: [ModelTensor]) -> JSON {
        .array(
            tensors.map { tensor in
                [
                    "name": .string(tensor.name), "dtype": .string(tensor.encoding.description),
                    "shape": .array(tensor.shape.map { .integer($0) }), "bytes": .integer(tensor.byteCount),
                ]
            })
    }

    var text: String {
        var lines: [[String]] = [[opened.checkpoint == nil ? "model" : "checkpoint", printable(opened.path.string)]]
        if case .file(let model) = opened {
            lines.append(["format", model.format.rawValue])
        } else if opened.isForeign {
            lines.append(["", "foreign: no manifest, digests unknown"])
        }
        for key in ["step", "tokens"] {
            if let value = state?[key] { lines.append([key, printable(value.compact)]) }
        }
        lines.append(["parameters", "\(parameterCount) in \(opened.tensors.count) tensors"])
        for (key, value) in summary.members { lines.append([key, printable(value.stringValue ?? value.compact)]) }
        for file in files { lines.append([printable(file.name), "\(file.bytes) bytes"]) }
        var tensors = [["tensor", "dtype", "shape", "elements"]]
        for tensor in opened.tensors {
            tensors.append([
                printable(tensor.name), tensor.encoding.description, "\(tensor.shape)", "\(tensor.elementCount)",
            ])
        }
        return table(lines) + "\n" + table(tensors)
    }
}
