// A checkpoint's model, ready to run: what sample, evaluate and logits begin with.

import Bytes
import Checkpoints
import Kernels
import Models
import SystemPackage
import Tokens
import Training

struct LoadedModel {
    let model: Transformer
    let checkpoint: Checkpoint

    /// - Parameter limit: the longest row, or `max_position_embeddings` when that is less.
    init(_ path: String, upTo limit: Int, threads: Int) throws {
        try self.init(path, threads: threads) { min(limit, $0.maximumPositions) }
    }

    /// - Parameters:
    ///   - length: the longest row, at most `max_position_embeddings`.
    ///   - rows: rows at once.
    init(_ path: String, rows: Int = 1, length: Int, threads: Int) throws {
        try self.init(path, rows: rows, threads: threads) { _ in length }
    }

    private init(_ path: String, rows: Int = 1, threads: Int, length: (ModelConfiguration) -> Int) throws {
        checkpoint = try Checkpoint.named(path)
        let name = checkpoint.path.appending(Checkpoint.configurationName).string
        let configuration = try ModelConfiguration(json: checkpoint.configuration(), name: name)
        let length = length(configuration)
        if length > configuration.maximumPositions {
            throw Fault(
                .usage,
                "\(length) positions, the model's max_position_embeddings is \(configuration.maximumPositions)")
        }
        let engine = try Engine(threads: threads)
        try configuration.require(tensorsOf: checkpoint)
        try Transformer.plan(configuration, engine: engine, rows: rows, length: length, training: false)
            .require(name: path)
        model = Transformer(
            configuration: configuration, engine: engine, rows: rows, length: length, training: false)
        try model.load(checkpoint)
    }

    /// The tokenizer that the run's data were made with.
    /// - Throws: `Fault` when the checkpoint does not say, or names one that this program does not have.
    func tokenizer() throws -> (tokenizer: any Tokenizer, endOfDocument: UInt32?) {
        let data = checkpoint.manifest?[Checkpoint.stateName] == nil ? nil : try checkpoint.state()["data"]
        guard let tokenizer = data?["tokenizer"], !tokenizer.isNull else {
            throw Fault.badData(
                checkpoint.path.string, "the checkpoint does not say which tokenizer it was trained with",
                hint: "--ids takes and prints token ids")
        }
        let directory = checkpoint.path.string
        var record = try TokenizerRecord(tokenizer, vocabularySize: 1 << 32, name: directory)
        if record.file != nil {
            guard let file = try checkpoint.tokenizerName() else {
                throw Fault.badData(
                    directory, "the checkpoint has no copy of its tokenizer \(quoted(record.name))",
                    hint: "train-step --tokenizer FILE puts one into every checkpoint; --ids takes and prints token ids"
                )
            }
            record.file = file
        }
        guard let found = try record.tokenizer(in: directory) else {
            throw Fault.badData(
                directory, "this program has no tokenizer \(quoted(record.name))",
                hint: "--ids takes and prints token ids")
        }
        return (found, data?["end_of_document"]?.intValue.map { UInt32($0) })
    }
}

/// Ids separated by commas.
func parseIds(_ text: String) throws -> [UInt32] {
    try text.split(separator: ",", omittingEmptySubsequences: false).map { part in
        guard let id = UInt32(part.trimmingSpaces) else {
            throw Fault(
                .usage, "\(quoted(String(part))) is no token id", hint: "ids are separated by commas: 256,72,101")
        }
        return id
    }
}

extension Substring {
    fileprivate var trimmingSpaces: Substring {
        var text = self
        while text.first == " " { text.removeFirst() }
        while text.last == " " { text.removeLast() }
        return text
    }
}
