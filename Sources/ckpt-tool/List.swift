// One line a tensor, or one line a checkpoint of a run, tab-separated for cut and awk.

import ArgumentParser
import Bytes
import Checkpoints
import CommandLine
import SystemPackage

struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List a checkpoint's tensors or a run's checkpoints, one a line, tab-separated.",
        discussion: """
            EXAMPLE: ckpt-tool list runs/first/latest | cut -f 1

            Of a checkpoint, or a file of any readable format (see convert): name, dtype, shape. Of a run: name, step, \
            links or -, and ok or what is wrong.
            """)

    @Flag(help: "List the optimizer's tensors.")
    var optimizer = false

    @Argument(help: "A checkpoint, a run, or a file of a readable format.")
    var path: String

    func run() throws {
        let output = BufferedSink(FileSink.standardOutput)
        if try RunDirectory.isRun(typedPath(path)) && !optimizer {
            try listRun(to: output)
        } else {
            let tensors =
                optimizer
                ? try Checkpoint.named(path).requireOptimizer().tensors
                : try OpenedModel(path).tensors
            for tensor in tensors {
                let shape = JSON.array(tensor.shape.map { .integer($0) }).compact
                try output.write("\(printable(tensor.name))\t\(tensor.encoding)\t\(shape)\n")
            }
        }
        try output.flush()
    }

    private func listRun(to output: BufferedSink) throws {
        let run = try RunDirectory(typedPath(path), access: .read)
        for step in try run.steps() {
            let links = RunDirectory.Link.allCases.filter { run.step(of: $0) == step.step }.map(\.rawValue)
            // A run that is under way may have removed it since it was listed.
            guard let findings = run.verify(step: step.step, deep: false) else { continue }
            let finding = findings.first?.message ?? "ok"
            let named = links.isEmpty ? "-" : links.joined(separator: ",")
            try output.write("\(step.name)\t\(step.step)\t\(named)\t\(finding)\n")
        }
    }
}

extension Checkpoint {
    /// The optimizer's tensors, or an error that says there are none.
    func requireOptimizer() throws(Fault) -> TensorSet {
        guard let optimizer else {
            throw Fault(.noInput, "\(quoted(path.string)) has no '\(Checkpoint.optimizerName)'")
        }
        return optimizer
    }
}
