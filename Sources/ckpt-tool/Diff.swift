// How far are two checkpoints apart, tensor by tensor? Both are read once, in pieces, digests checked on the way.

import ArgumentParser
import Bytes
import Checkpoints
import CommandLine
import SystemPackage

struct Diff: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Compare two checkpoints tensor by tensor.",
        discussion: """
            EXAMPLE: ckpt-tool diff runs/a/latest runs/b/latest

            Prints tab-separated: status, max |a - b|, ||a - b|| / ||a||, tensor. The status is equal (every bit), \
            different, only-in-a, only-in-b, or shape. Exit status: 0 when every tensor is equal, else 1.
            """)

    @Flag(help: "Compare the optimizers' tensors too.")
    var optimizer = false

    @Flag(name: .shortAndLong, help: "Print nothing; the exit status is the answer.")
    var quiet = false

    @Argument(help: "A checkpoint, or a run for its latest.")
    var a: String

    @Argument(help: "Another.")
    var b: String

    func run() throws {
        let first = try Checkpoint.find(FilePath(a))
        let second = try Checkpoint.find(FilePath(b))
        let output = BufferedSink(FileSink.standardOutput)
        if !quiet { try output.write("status\tmax_abs\trelative_l2\ttensor\n") }
        var isEqual = try compare(first.model, second.model, to: output)
        if optimizer {
            isEqual = try compare(first.requireOptimizer(), second.requireOptimizer(), to: output) && isEqual
        }
        try output.flush()
        if !isEqual { throw Exit(.no) }
    }

    private func compare(_ first: TensorSet, _ second: TensorSet, to output: BufferedSink) throws -> Bool {
        var isEqual = true
        func line(_ status: String, _ difference: TensorDifference?, _ name: String) throws {
            if status != "equal" { isEqual = false }
            if quiet { return }
            func text(_ value: Double?) -> String { value.map { "\($0)" } ?? "-" }
            try output.write(
                "\(status)\t\(text(difference?.maximumAbsolute))\t\(text(difference?.relativeL2))\t\(printable(name))\n"
            )
        }
        for entry in first.entries {
            guard let other = second[entry.name] else {
                try line("only-in-a", nil, entry.name)
                continue
            }
            if other.shape != entry.shape {
                try line("shape", nil, entry.name)
                continue
            }
            let difference = try TensorDifference.of(entry.name, first, second)
            try line(difference.hasEqualBits ? "equal" : "different", difference, entry.name)
        }
        for entry in second.entries where first[entry.name] == nil { try line("only-in-b", nil, entry.name) }
        return isEqual
    }
}
