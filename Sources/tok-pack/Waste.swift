// tok-pack waste: what each packing would cost, before a run is begun with one.

import ArgumentParser
import Batches
import Bytes
import CommandLine
import Tokens

struct Waste: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Compare what packings waste and which documents they split.",
        discussion: """
            Example:
              tok-pack waste --length 512 corpus/train

            Reads the document index, no tokens. Waste is the share of positions that are padding; a document is split when \
            it lies in more than one row, and each place where that happens is a cut. First-fit is there to compare with; \
            no stream has it.
            """)

    @Option(help: ArgumentHelp("Targets a row.", valueName: "t"))
    var length: Int

    @Flag(help: "Print JSON Lines, one object a packing.")
    var json = false

    @Argument(help: "Directories that tok-shard made, read as one.")
    var dataset: [String]

    func run() throws {
        let source = try TokenSource(dataset.map { (path: String) throws in try Dataset(path) })
        let reports = try PackingReport.compare(source, length: length)
        var text = json ? "" : "packing            rows     waste   documents       split        cuts\n"
        for report in reports {
            if json {
                let object: JSON = [
                    "packing": .string(report.packing), "rows": .integer(report.rows),
                    "tokens": .integer(report.tokens), "padded": .integer(report.padded),
                    "waste": .number(report.waste), "documents": .integer(report.documents),
                    "split": .integer(report.split), "cuts": .integer(report.cuts),
                ]
                text += object.compact + "\n"
            } else {
                text += report.packing + String(repeating: " ", count: 11 - report.packing.utf8.count)
                text += column(String(report.rows)) + column(percent(report.waste), 10)
                text += column(String(report.documents)) + column(String(report.split)) + column(String(report.cuts))
                text += "\n"
            }
        }
        try FileSink.standardOutput.write(text)
    }

    private func column(_ text: String, _ width: Int = 12) -> String {
        String(repeating: " ", count: max(1, width - text.utf8.count)) + text
    }
}

/// A share as per cent with two digits behind the point.
func percent(_ share: Double) -> String {
    let hundredths = Int((share * 10_000).rounded())
    let rest = String(hundredths % 100)
    return "\(hundredths / 100).\(rest.utf8.count < 2 ? "0" : "")\(rest) %"
}
