// A run in memory, for what is drawn and compared: columns over steps. Records of the same step (training and validation,
// or a step that was done again after a resume) are one row, where the later record counts. A run of more rows than a
// drawing can show is thinned while it is read, in buckets that double, so that memory does not grow with the run.

public import Bytes

/// The selected metrics of one run, a row a step, steps ascending.
public struct MetricsRun: Sendable {
    public let label: String
    public private(set) var steps: [Int] = []
    /// The metrics in the order in which they first appeared, without `step`.
    public private(set) var keys: [String] = []
    private var columns: [[MetricsRecord.Value?]] = []
    /// Rows that the run has; more than `steps` when it was thinned.
    public private(set) var rowCount = 0

    /// Rows that are kept of a run unless a caller wants all: several for each point of a wide screen.
    public static let drawnRows = 40_000

    public init(label: String) { self.label = label }

    /// Reads the rows.
    /// - Parameters:
    ///   - columns: the metrics to keep.
    ///   - limit: rows at most, about; nil keeps all, 24 bytes a value.
    /// - Throws: `Fault` of the reader.
    public init(
        _ run: SurveyedRun, columns: [String], options: RowOptions = RowOptions(), limit: Int? = MetricsRun.drawnRows
    ) throws(Fault) {
        self.init(label: run.label)
        var stream = try RowStream(run, columns: columns, options: options)
        var collector = RowCollector(columns: columns, limit: limit)
        while let row = try stream.next() { collector.add(row) }
        take(collector)
    }

    init(label: String, _ collector: RowCollector) {
        self.init(label: label)
        take(collector)
    }

    private mutating func take(_ collector: RowCollector) {
        keys = collector.columns
        let rows = collector.rows
        rowCount = collector.count
        steps = rows.map(\.step)
        columns = keys.indices.map { column in rows.map { $0.value(column) } }
    }

    /// A metric's values, one a step; nil where the step has none.
    public func values(of key: String) -> [MetricsRecord.Value?]? {
        keys.firstIndex(of: key).map { columns[$0] }
    }

    /// The run with only those metrics.
    public func selecting(_ names: [String]) -> MetricsRun {
        var run = self
        let places = keys.indices.filter { names.contains(keys[$0]) }
        run.keys = places.map { keys[$0] }
        run.columns = places.map { columns[$0] }
        return run
    }

    /// The column's place in `keys` is its index.
    func value(column: Int, row: Int) -> MetricsRecord.Value? { columns[column][row] }
}

/// Gathers rows; beyond a limit it keeps the telling ones of buckets that double.
struct RowCollector {
    let columns: [String]
    private let limit: Int?
    private let isMeasure: [Bool]
    private var bucket = 1
    private var kept: [(index: Int, row: MetricsRow)] = []
    private(set) var count = 0

    init(columns: [String], limit: Int?) {
        self.columns = columns
        self.limit = limit
        isMeasure = columns.map { MetricMeaning.of($0).role == .measure }
    }

    var rows: [MetricsRow] { kept.map(\.row) }

    mutating func add(_ row: MetricsRow) {
        kept.append((count, row))
        count += 1
        guard let limit, kept.count > limit else { return }
        // The newest rows stay as they are until the next time. A bucket that holds no more than the rows that it must
        // keep is not made smaller by this, but a larger one is.
        while kept.count > limit / 2 && bucket < count {
            bucket *= 2
            thin()
        }
    }

    private mutating func thin() {
        var thinner = RowThinner(bucket: bucket, isMeasure: isMeasure)
        var result: [(index: Int, row: MetricsRow)] = []
        // Steps are unique in a run: they tell which rows came back.
        let places = [Int: Int](kept.map { ($0.row.step, $0.index) }, uniquingKeysWith: { $1 })
        func keep(_ rows: [MetricsRow]) {
            for row in rows { result.append((places[row.step] ?? 0, row)) }
        }
        for (index, row) in kept { keep(thinner.add(row, at: index)) }
        keep(thinner.finish())
        kept = result
    }
}
