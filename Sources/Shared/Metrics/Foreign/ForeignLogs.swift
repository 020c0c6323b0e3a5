// What other programs logged, found and told by its content, and how their names become keys (docs/formats/metrics.md,
// "Other files that are read as metrics").

internal import Bytes
internal import SystemPackage

/// Things said on the way, each once.
final class Notes {
    private(set) var lines: [String] = []

    func add(_ line: String) { if !lines.contains(line) { lines.append(line) } }
}

enum ForeignLogs {
    /// What `source` holds, and the bytes that were read to see it.
    static func sniff(_ source: any ByteSource) throws(Fault) -> (content: MetricsInput.Content, head: [UInt8]) {
        var head = try source.read(upTo: 1 << 16)
        while !head.isEmpty && head.count < EventFile.headBytes {
            let more = try source.read(upTo: 1 << 16)
            if more.isEmpty { break }
            head += more
        }
        if EventFile.isHead(head) { return (.tensorBoard, head) }
        return (isTrainerState(head) ? .trainerState : .metrics, head)
    }

    /// An object with `"log_history": [` in it is no record of ours, which have no arrays.
    private static func isTrainerState(_ head: [UInt8]) -> Bool {
        func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0d).contains(byte) }
        guard head.first(where: { !isSpace($0) }) == UInt8(ascii: "{"),
            let range = head.firstRange(of: Array("\"log_history\"".utf8))
        else { return false }
        let rest = head[range.upperBound...].filter { !isSpace($0) }.prefix(2)
        return rest.elementsEqual([UInt8(ascii: ":"), UInt8(ascii: "[")])
    }

    struct Found {
        let name: String
        let content: MetricsInput.Content
        let open: () throws(Fault) -> any ByteSource
    }

    /// Event files or a trainer state in a directory that has no metrics of ours.
    static func find(in directory: FilePath, notes: Notes) throws(Fault) -> Found? {
        let names = try FileSystem.list(directory)
        let events = names.filter {
            $0.contains("tfevents") && !$0.hasSuffix(".tmp")
                && FileSystem.kind(of: directory.appending($0)) == .file
        }
        if !events.isEmpty {
            return Found(name: directory.string, content: .tensorBoard) { () throws(Fault) -> any ByteSource in
                EventLines(
                    files: events.map { name in
                        let path = directory.appending(name).string
                        return (path, { () throws(Fault) -> any ByteSource in try FileSource.open(path) })
                    }, notes: notes)
            }
        }
        let checkpoints = names.compactMap { name in
            name.hasPrefix("checkpoint-") ? Int(name.dropFirst("checkpoint-".count)) : nil
        }.sorted()
        for place in ["."] + checkpoints.reversed().map({ "checkpoint-\($0)" }) {
            let path = (place == "." ? directory : directory.appending(place)).appending("trainer_state.json").string
            if FileSystem.kind(of: FilePath(path)) == .file {
                return Found(name: path, content: .trainerState) { () throws(Fault) -> any ByteSource in
                    TrainerStateLines(try FileSource.open(path))
                }
            }
        }
        return nil
    }

    /// The key that a name of elsewhere becomes.
    static func key(_ name: String) -> String {
        var key = ""
        for byte in name.utf8 {
            let lower = byte | 0x20
            if (0x30...0x39).contains(byte) || ((0x61...0x7a).contains(lower) && byte >= 0x41) {
                key.unicodeScalars.append(Unicode.Scalar((0x30...0x39).contains(byte) ? byte : lower))
            } else if !key.isEmpty && key.utf8.last != UInt8(ascii: "_") {
                key += "_"
            }
        }
        if key.utf8.last == UInt8(ascii: "_") { key.removeLast() }
        if let known = aliases[key] { return known }
        if key.isEmpty { return "metric" }
        if (0x30...0x39).contains(key.utf8.first ?? 0) { key = "metric_" + key }
        // Names that mean something else here.
        if key == "step" || key == "time" || key.hasSuffix(MetricsRecord.companionSuffix) { key += "_value" }
        return key
    }

    private static let aliases: [String: String] = [
        "loss": "train_loss", "loss_train": "train_loss", "training_loss": "train_loss",
        "eval_loss": "validation_loss", "val_loss": "validation_loss", "loss_eval": "validation_loss",
        "loss_val": "validation_loss", "loss_validation": "validation_loss", "valid_loss": "validation_loss",
        "grad_norm": "gradient_norm", "train_grad_norm": "gradient_norm", "grad_norm_train": "gradient_norm",
        "train_gradient_norm": "gradient_norm", "lr": "learning_rate", "train_lr": "learning_rate",
        "train_learning_rate": "learning_rate", "train_epoch": "epoch", "num_input_tokens_seen": "tokens",
        "train_num_input_tokens_seen": "tokens", "train_tokens": "tokens",
    ]
}
