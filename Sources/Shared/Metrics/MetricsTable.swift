// Several runs side by side: one row for each step that any run has, one column for each run and metric.

/// Runs joined on `step`.
public struct MetricsTable: Sendable {
    struct Column: Sendable {
        /// The metric, with its run in front when there are several.
        let name: String
        let run: Int
        let index: Int
    }

    public let runs: [MetricsRun]
    let columns: [Column]
    /// For each row, the row of each run, or nil.
    private let rows: [[Int?]]
    let steps: [Int]

    public var rowCount: Int { rows.count }
    /// The header: `step` and the columns' names.
    public var header: [String] { ["step"] + columns.map(\.name) }

    public init(_ runs: [MetricsRun]) {
        self.runs = runs
        columns = runs.indices.flatMap { run in
            runs[run].keys.indices.map { index in
                let key = runs[run].keys[index]
                return Column(name: runs.count == 1 ? key : "\(runs[run].label):\(key)", run: run, index: index)
            }
        }
        var next = [Int](repeating: 0, count: runs.count)
        var rows: [[Int?]] = []
        var steps: [Int] = []
        while true {
            let heads = runs.indices.map { next[$0] < runs[$0].steps.count ? runs[$0].steps[next[$0]] : nil }
            guard let step = heads.compactMap({ $0 }).min() else { break }
            steps.append(step)
            rows.append(runs.indices.map { heads[$0] == step ? next[$0] : nil })
            for run in runs.indices where heads[run] == step { next[run] += 1 }
        }
        self.rows = rows
        self.steps = steps
    }

    func value(row: Int, column: Column) -> MetricsRecord.Value? {
        rows[row][column.run].flatMap { runs[column.run].value(column: column.index, row: $0) }
    }
}
