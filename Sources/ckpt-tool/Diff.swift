// How far are two models apart, tensor by tensor? Both are read once, in pieces, digests checked on the way; they may be of
// different formats, because names and layouts are made Hugging Face's first.

import ArgumentParser
import Bytes
import Checkpoints
import CommandLine
import SystemPackage

struct Diff: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Compare two models tensor by tensor, whatever their formats.",
        discussion: """
            EXAMPLE: ckpt-tool diff runs/a/latest model.gguf --tolerance 0.01

            Prints tab-separated: status, max |a - b|, max |a - b| / max(|a|, |b|), ||a - b|| / ||a||, tensor. The status \
            is equal (every bit and the type), close (within the tolerance), different, only-in-a, only-in-b, or shape. \
            Exit status: 0 when every tensor is equal or close, else 1. Any readable format may be compared (see convert).
            """)

    @Flag(help: "Compare the optimizers' tensors too.")
    var optimizer = false

    @Flag(name: .shortAndLong, help: "Print nothing; the exit status is the answer.")
    var quiet = false

    @Option(
        help: ArgumentHelp(
            "A tensor is close when max |a - b| is not larger; 0: same values, of any type.", valueName: "x"))
    var tolerance: Double?

    @Option(
        help: ArgumentHelp("A tensor is close when ||a - b|| / ||a|| is not larger.", valueName: "x"))
    var relativeTolerance: Double?

    @Argument(help: "A checkpoint, a run for its latest, or a file of a readable format.")
    var a: String

    @Argument(help: "Another.")
    var b: String

    func validate() throws {
        for (name, value) in [("tolerance", tolerance), ("relative-tolerance", relativeTolerance)] {
            if let value, !(value >= 0) { throw ValidationError("--\(name) is \(value), expected 0 or more") }
        }
    }

    func run() throws {
        let first = try ForeignModel.named(a)
        let second = try ForeignModel.named(b)
        for model in [first, second] { try model.requireTiedHead() }
        let output = BufferedSink(FileSink.standardOutput)
        if !quiet { try output.write("status\tmax_abs\tmax_rel\trelative_l2\ttensor\n") }
        var isEqual = try compare(first.tensors, second.tensors, to: output)
        if optimizer {
            let (left, right) = (try Checkpoint.find(typedPath(a)), try Checkpoint.find(typedPath(b)))
            isEqual =
                try compare(left.requireOptimizer().tensors, right.requireOptimizer().tensors, to: output) && isEqual
        }
        try output.flush()
        if !isEqual { throw Exit(.no) }
    }

    private func compare(_ first: [ModelTensor], _ second: [ModelTensor], to output: BufferedSink) throws -> Bool {
        var isEqual = true
        func line(_ status: String, _ difference: TensorDifference?, _ name: String) throws {
            if status != "equal" && status != "close" { isEqual = false }
            if quiet { return }
            func text(_ value: Double?) -> String { value.map { "\($0)" } ?? "-" }
            try output.write(
                "\(status)\t\(text(difference?.maximumAbsolute))\t\(text(difference?.maximumRelative))"
                    + "\t\(text(difference?.relativeL2))\t\(printable(name))\n")
        }
        var others: [String: ModelTensor] = [:]
        for tensor in second { others[tensor.name] = tensor }
        for tensor in first {
            guard let other = others.removeValue(forKey: tensor.name) else {
                try line("only-in-a", nil, tensor.name)
                continue
            }
            if other.shape != tensor.shape {
                try line("shape", nil, tensor.name)
                continue
            }
            let difference = try TensorDifference.of(tensor, other)
            try line(
                difference.hasEqualBits ? "equal" : isClose(difference) ? "close" : "different", difference, tensor.name
            )
        }
        for tensor in second where others[tensor.name] != nil { try line("only-in-b", nil, tensor.name) }
        return isEqual
    }

    /// Within every tolerance that was given; NaN is in none.
    private func isClose(_ difference: TensorDifference) -> Bool {
        guard tolerance != nil || relativeTolerance != nil, let absolute = difference.maximumAbsolute,
            let relative = difference.relativeL2
        else { return false }
        return (tolerance.map { absolute <= $0 } ?? true) && (relativeTolerance.map { relative <= $0 } ?? true)
            && !absolute.isNaN
    }
}
