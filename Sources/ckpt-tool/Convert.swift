// From any format to any other, through Hugging Face's names and layout.

import ArgumentParser
import Bytes
import Checkpoints
import CommandLine
import Models
import SystemPackage

extension ForeignFormat: ExpressibleByArgument {}
extension ConversionOptions.Target: ExpressibleByArgument {}

struct Convert: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Convert a model to Hugging Face safetensors, GGUF, npz or llm.c.",
        discussion: """
            EXAMPLE: ckpt-tool convert runs/first/best model.gguf --dtype q8_0

            Reads a checkpoint, a Hugging Face directory (also in parts), GGUF (F32, F16, BF16, Q8_0), an npz archive \
            or llm.c's .bin, whichever it is. Writes what OUTPUT's name ends in: .gguf, .npz, .bin (llm.c), else a \
            Hugging Face directory. Types stay unless --dtype says otherwise; what is left out is said on standard \
            error. docs/formats/foreign-checkpoints.md has the details.
            """)

    @Option(help: ArgumentHelp("Format of OUTPUT: hf, gguf, npz, llm.c.", valueName: "format"))
    var to: ForeignFormat?

    @Option(help: ArgumentHelp("Type of the numbers: f32, bf16, f16, q8_0 (gguf).", valueName: "type"))
    var dtype: ConversionOptions.Target?

    @Option(help: ArgumentHelp("Bytes of tensors a safetensors file holds at most (default: 5GB).", valueName: "size"))
    var shardSize: String?

    @Option(help: ArgumentHelp("A config.json to use in place of the model's own.", valueName: "file"))
    var config: String?

    @Option(help: ArgumentHelp("A tokenizer.json to put with the model.", valueName: "file"))
    var tokenizer: String?

    @Flag(help: "Replace OUTPUT when it is a file that exists.")
    var force = false

    @Argument(help: "A checkpoint, a run for its latest, a Hugging Face directory, or a file.")
    var input: String

    @Argument(help: "What to write.")
    var output: String

    func run() throws {
        Interruption.install(abandonsWrites: true)
        let path = try typedPath(output)
        let format = try to ?? ForeignFormat(writing: path)
        var options = ConversionOptions()
        options.target = dtype
        if let shardSize {
            guard format.hasParts else {
                throw Fault(.usage, "--shard-size is for safetensors: \(format.rawValue) is one file")
            }
            options.shardSize = try ConversionOptions.byteCount(shardSize)
        }
        options.replaces = force
        var model = try ForeignModel.named(input, configuration: config)
        try model.requirePlain()
        if let tokenizer { try model.add(tokenizer: typedPath(tokenizer)) }
        // What describes its tensors by numbers must not lie about them.
        if [format, model.format].contains(where: { $0 == .gguf || $0 == .llmC }) { try model.requireShapes() }
        note(try model.write(to: path, as: format, options: options))
    }
}

/// What was left out, a line each.
func note(_ notes: [String]) {
    for note in notes { StandardError.writeLine("ckpt-tool: note: \(note)") }
}

extension ForeignModel {
    /// Puts a tokenizer.json in the place of the model's own.
    mutating func add(tokenizer path: FilePath) throws(Fault) {
        let content = try InputFile(path).readAll(limit: 256 << 20)
        guard try JSON(parsing: content, name: path.string)["model"]?.objectValue != nil else {
            throw .badData(path.string, "expected a tokenizer.json, found no object 'model' in it")
        }
        sideFiles.removeAll { $0.name == "tokenizer.json" }
        sideFiles.append(SideFile(name: "tokenizer.json", origin: path) { () throws(Fault) in content })
    }

    /// Refuses a model with low-rank adapters: no other program would know of them, and each would read another model.
    func requirePlain() throws(Fault) {
        guard let lora = configuration?["lora"], !lora.isNull else { return }
        throw Fault(
            .usage, "\(quoted(path.string)) has low-rank adapters, which no other format has",
            hint: "ckpt-tool merge-lora \(path.string) -o DIR makes a plain model of it")
    }

    /// Whether its configuration names a family that this program trains.
    var isOfKnownFamily: Bool {
        configuration?["model_type"]?.stringValue.flatMap { ModelFamily(rawValue: $0) } != nil
    }

    /// Holds the tensors against the configuration.
    /// - Throws: `Fault` (bad data) naming the tensor that is missing, too much or misshapen.
    func requireShapes() throws(Fault) {
        if let message = try shapeFindings().first { throw Fault(.badData, message) }
    }

    /// Every tensor that is missing, too much or misshapen, a line each.
    /// - Throws: `Fault` when the configuration is none that this program knows.
    func shapeFindings() throws(Fault) -> [String] {
        let configuration = try ModelConfiguration(json: requireConfiguration(), name: path.string)
        var shapes: [String: [Int]] = [:]
        for tensor in tensors { shapes[tensor.name] = tensor.shape }
        var findings: [String] = []
        for tensor in ParameterLayout(configuration).tensors {
            let found = shapes.removeValue(forKey: tensor.name)
            if found == nil {
                findings.append("\(quoted(path.string)): tensor \(quoted(tensor.name)) is missing")
            } else if let found, found != tensor.shape {
                findings.append(
                    "\(quoted(path.string)): tensor \(quoted(tensor.name)) has shape \(found), expected \(tensor.shape)"
                )
            }
        }
        return findings
            + shapes.keys.sorted().map {
                "\(quoted(path.string)): tensor \(quoted($0)) has no place in the model that its configuration describes"
            }
    }
}
