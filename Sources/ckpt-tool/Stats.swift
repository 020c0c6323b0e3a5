// What the numbers of a model look like, tensor by tensor: the first thing to ask of a run that went wrong.

import ArgumentParser
import Bytes
import Checkpoints
import CommandLine
import SystemPackage

struct Stats: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print norm, mean, range, histogram and non-finite values of each tensor.",
        discussion: """
            EXAMPLE: ckpt-tool stats --json runs/first/latest | jq -r 'select(.non_finite > 0) | .tensor'

            Any readable format may be asked (see convert). All numbers but non_finite are of the finite values. The \
            histogram has equally wide bins from min to max. With --json an object a line.
            """)

    @Flag(help: "One JSON object a line.")
    var json = false

    @Flag(help: "The optimizer's tensors instead.")
    var optimizer = false

    @Option(help: ArgumentHelp("Bins of the histogram.", valueName: "n"))
    var bins = 16

    @Option(help: ArgumentHelp("Only tensors whose names hold this.", valueName: "text"))
    var filter: String?

    @Argument(help: "A checkpoint, a run for its latest, or a file of a readable format.")
    var checkpoint: String

    func run() throws {
        if !(1...4096).contains(bins) { throw Fault(.usage, "--bins is \(bins), expected 1 to 4096") }
        let tensors =
            optimizer
            ? try Checkpoint.named(checkpoint).requireOptimizer().tensors
            : try ForeignModel.named(checkpoint).tensors
        let output = BufferedSink(FileSink.standardOutput)
        var rows = [
            ["tensor", "type", "shape", "norm", "mean", "std", "min", "max", "zeros", "non-finite", "histogram"]
        ]
        for tensor in tensors where filter.map({ tensor.name.contains($0) }) ?? true {
            let found = try TensorStatistics.of(tensor, bins: bins)
            if json {
                try output.write(Stats.json(tensor, found).compact + "\n")
                try output.flush()
            } else {
                rows.append(Stats.row(tensor, found))
            }
        }
        if !json { try output.write(table(rows)) }
        try output.flush()
    }

    private static func json(_ tensor: ModelTensor, _ found: TensorStatistics?) -> JSON {
        func number(_ value: Double?) -> JSON { value.flatMap { $0.isFinite ? .number($0) : nil } ?? .null }
        var object: JSONObject = [
            "tensor": .string(tensor.name), "type": .string(tensor.encoding.description),
            "shape": .array(tensor.shape.map { .integer($0) }), "count": .integer(tensor.elementCount),
            "bytes": .integer(tensor.byteCount),
        ]
        guard let found else { return .object(object) }
        object["norm"] = number(found.norm)
        object["mean"] = number(found.mean)
        object["std"] = number(found.deviation)
        object["min"] = number(found.minimum)
        object["max"] = number(found.maximum)
        object["zeros"] = .integer(found.zeroCount)
        object["nan"] = .integer(found.nanCount)
        object["infinite"] = .integer(found.infiniteCount)
        object["non_finite"] = .integer(found.nonFiniteCount)
        object["histogram"] = .array(found.histogram.map { .integer($0) })
        return .object(object)
    }

    private static func row(_ tensor: ModelTensor, _ found: TensorStatistics?) -> [String] {
        let start = [printable(tensor.name), tensor.encoding.description, "\(tensor.shape)"]
        guard let found else { return start + [String](repeating: "-", count: 8) }
        func text(_ value: Double?) -> String { value.map(shortened) ?? "-" }
        return start + [
            text(found.norm), text(found.mean), text(found.deviation), text(found.minimum), text(found.maximum),
            "\(found.zeroCount)", "\(found.nonFiniteCount)", bars(found.histogram),
        ]
    }

    /// A character a bin, as high as the bin is full; a bin that holds anything is never empty.
    private static func bars(_ counts: [Int]) -> String {
        let levels = Array("▁▂▃▄▅▆▇█")
        guard let most = counts.max(), most > 0 else { return "" }
        return String(counts.map { $0 == 0 ? " " : levels[min(7, $0 * 8 / (most + 1))] })
    }
}

/// Four significant digits, for tables.
func shortened(_ value: Double) -> String {
    if value == 0 || !value.isFinite { return value == 0 ? "0" : "\(value)" }
    var exponent = 0
    var mantissa = abs(value)
    while mantissa >= 10 && exponent < 400 {
        mantissa /= 10
        exponent += 1
    }
    while mantissa < 1 && exponent > -400 {
        mantissa *= 10
        exponent -= 1
    }
    var digits = Int((mantissa * 1000).rounded())
    if digits >= 10_000 {
        digits /= 10
        exponent += 1
    }
    let sign = value < 0 ? "-" : ""
    var text = String(digits)
    if (-4...3).contains(exponent) {
        if exponent < 0 {
            text = "0." + String(repeating: "0", count: -exponent - 1) + text
        } else if exponent < 3 {
            text.insert(".", at: text.index(text.startIndex, offsetBy: exponent + 1))
        }
        return sign + text
    }
    text.insert(".", at: text.index(after: text.startIndex))
    return "\(sign)\(text)e\(exponent)"
}
