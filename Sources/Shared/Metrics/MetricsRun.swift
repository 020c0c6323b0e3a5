// A run's records as columns over steps. Records of the same step (training and validation, or a step that was done
// again after a resume) are one row, where the later record counts. Memory: 24 bytes a value of the selected metrics.

public import Bytes

/// The selected metrics of one run, a row a step, steps ascending.
public struct MetricsRun: Sendable {
    public let label: String
    public private(set) var steps: [Int] = []
    /// The metrics in the order in which they first appeared, without `step`.
    public private(set) var keys: [String] = []
    private var columns: [[MetricsRecord.Value?]] = []
    /// The metrics that were there and not selected.
    public private(set) var otherKeys: Set<String> = []

    public init(label: String) { self.label = label }

    /// Reads all records.
    /// - Parameter select: which metrics to keep.
    /// - Throws: `Fault` of the reader.
    public init(label: String, reader: inout MetricsReader, select: (String) -> Bool) throws(Fault) {
        self.init(label: label)
        var rows: [Int: Int] = [:]
        while let record = try reader.next() {
            guard let step = record.step else { continue }
            let row: Int
            if let known = rows[step] {
                row = known
            } else {
                row = steps.count
                rows[step] = row
                steps.append(step)
            }
            for field in record.fields where field.key != "step" { set(field, row: row, select: select) }
        }
        for column in columns.indices { extend(column, to: steps.count) }
        sortRows()
    }

    /// A metric's values, one a step; nil where the step has none.
    public func values(of key: String) -> [MetricsRecord.Value?]? {
        keys.firstIndex(of: key).map { columns[$0] }
    }

    /// The column's place in `keys` is its index.
    func value(column: Int, row: Int) -> MetricsRecord.Value? { columns[column][row] }

    private mutating func set(_ field: MetricsRecord.Field, row: Int, select: (String) -> Bool) {
        let column: Int
        if let known = keys.firstIndex(of: field.key) {
            column = known
        } else {
            if otherKeys.contains(field.key) { return }
            if !select(field.key) {
                otherKeys.insert(field.key)
                return
            }
            column = keys.count
            keys.append(field.key)
            columns.append([])
        }
        extend(column, to: row + 1)
        columns[column][row] = field.value
    }

    private mutating func extend(_ column: Int, to count: Int) {
        let missing = count - columns[column].count
        if missing > 0 { columns[column].append(contentsOf: repeatElement(nil, count: missing)) }
    }

    private mutating func sortRows() {
        if zip(steps, steps.dropFirst()).allSatisfy({ $0 < $1 }) { return }
        let order = steps.indices.sorted { steps[$0] < steps[$1] }
        steps = order.map { steps[$0] }
        columns = columns.map { column in order.map { column[$0] } }
    }
}
