// Metrics files and logs of other programs, through every view that metrics-cat has.

import Bytes
import Metrics
import SystemPackage

extension FuzzTarget {
    /// metrics.jsonl or trainer_state.json.
    func fuzzMetrics(_ bytes: [UInt8], _ scratch: FuzzScratch) throws {
        let path = try scratch.write(bytes, "metrics.jsonl")
        try FuzzTarget.show(path)
        guard try MetricsInput(opening: path.string, label: "run").content == .metrics else { return }
        var reader = MetricsReader(MemorySource(bytes, chunk: 11))
        while try reader.next() != nil {}
    }

    /// TensorBoard's event files. When the byte in front is odd, records follow, each a u16 length and its content, which get
    /// the checksums they should have.
    func fuzzEvents(_ bytes: [UInt8], _ scratch: FuzzScratch) throws {
        var (isMended, content) = FuzzScratch.mode(bytes)
        if isMended {
            var rest = content
            content = []
            while rest.count > 2 {
                let (record, next) = FuzzScratch.parts(rest)
                content += FuzzTarget.record(record)
                rest = next
            }
        }
        try FuzzTarget.show(try scratch.write(content, "x.tfevents"))
    }

    private static func record(_ content: [UInt8]) -> [UInt8] {
        func masked(_ crc: UInt32) -> UInt32 { (crc >> 15 | crc << 17) &+ 0xa282_ead8 }
        var bytes: [UInt8] = []
        bytes.append(littleEndian: UInt64(content.count))
        bytes.append(littleEndian: masked(CRC32C.checksum(bytes)))
        bytes += content
        bytes.append(littleEndian: masked(CRC32C.checksum(content)))
        return bytes
    }

    private static func show(_ path: FilePath) throws {
        let surveyed = try SurveyedRun(try MetricsInput(opening: path.string, label: "run"))
        let columns = [surveyed.keys]
        let sink = MemorySink()
        for format in [RowExport.Format.csv, .tsv, .json] {
            try RowExport([surveyed], columns: columns).write(format, to: sink)
        }
        let text = PrometheusText([surveyed], columns: columns)
        try text.writeLatest(to: sink)
        // Of records without a time there is no history.
        do { _ = try text.writeHistory(to: sink) } catch is Fault {}
        let run = try MetricsRun(surveyed, columns: surveyed.keys)
        _ = RunSummary([run], width: 80).text
        _ = try MetricsTable([run]).writeText(to: sink, maximumRows: 40, width: 120)
        // A panel for each of hundreds of metrics is slow and shows nothing new.
        let keys = Array(surveyed.keys.prefix(8))
        for isLogarithmic in [false, true] {
            guard
                let panels = try? Plot.panels([run], keys: keys, x: .step, isLogarithmic: isLogarithmic),
                !panels.isEmpty
            else { continue }
            _ = TextPlot(panels, width: 80, height: 14, isColored: false).text
            let grid = PlotGrid(title: "run", panels: panels)
            _ = grid.svg
            _ = grid.vegaLite.compact
            _ =
                HTMLPage(
                    title: "run", runs: [run], keys: keys, descriptions: [nil], panels: panels,
                    isLogarithmic: isLogarithmic
                ).html
        }
    }
}
