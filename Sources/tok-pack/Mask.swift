// tok-pack mask: a loss mask beside a dataset, from one byte a token. Whatever decides what counts (a chat template, a
// quality filter, another program's mask file) writes bytes; here they become sidecars that are checked when they are read.

import ArgumentParser
import Batches
import Bytes
import CommandLine
import Tokens

struct Mask: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Put a loss mask beside a dataset.",
        discussion: """
            Example:
              tok-pack mask corpus/train marks

            Reads one byte a token, in the order of the dataset: 0 leaves a target out of the loss, 1 keeps it (the form of \
            datatrove's .ds.loss files). tok-pack --loss-mask then uses it. The dataset itself stays as it is.
            """)

    @Argument(help: "A directory that tok-shard made.")
    var dataset: String

    @Argument(help: "A file of bytes; - is standard input.")
    var marks = "-"

    func run() throws {
        let dataset = try Dataset(dataset)
        let source = try FileSource.open(marks)
        var offset = 0
        try dataset.writeMask { count in
            var bytes: [UInt8] = []
            while bytes.count < count {
                let piece = try source.read(upTo: count - bytes.count)
                if piece.isEmpty {
                    throw Fault.badData(
                        source.name, byte: offset + bytes.count,
                        "expected \(dataset.manifest.totals.tokens) bytes, one a token, found the end")
                }
                bytes.append(contentsOf: piece)
            }
            if let wrong = bytes.firstIndex(where: { $0 > 1 }) {
                throw Fault.badData(source.name, byte: offset + wrong, "expected a byte 0 or 1, found \(bytes[wrong])")
            }
            offset += count
            return bytes
        }
        if try !source.read(upTo: 1).isEmpty {
            throw Fault.badData(
                source.name, byte: offset, "more than one byte for each of the \(dataset.manifest.totals.tokens) tokens"
            )
        }
    }
}
