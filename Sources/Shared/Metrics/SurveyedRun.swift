// The first of two passes: which metrics a run has, and whether everything in it can be read, before a byte of output is
// written.

public import Bytes

/// A run whose content has been looked over once.
public struct SurveyedRun {
    public let input: MetricsInput
    /// The metrics in the order in which they first appear, without `step`.
    public let keys: [String]
    public let records: Int
    public let firstStep: Int?
    public let lastStep: Int?
    /// The number of a last line that is no record, being written or torn.
    public let tornLine: Int?

    public var label: String { input.label }

    /// Reads all of it. Where records are not in the order of their steps they will be from now on, at the cost of the file's
    /// size in memory; a run's own file always is in order.
    /// - Throws: `Fault` (bad data) naming file, line and byte.
    public init(_ input: MetricsInput) throws(Fault) {
        self.input = input
        var reader = RowReader(try input.open())
        var records = 0
        var first: Int64?
        var last: Int64 = 0
        var isOrdered = true
        var highest: Int64 = 0
        while let line = try reader.nextLine() {
            records += 1
            if first == nil { first = line.step }
            if line.step < last { isOrdered = false }
            last = line.step
            highest = max(highest, last)
        }
        if !isOrdered { input.sort() }
        self.records = records
        firstStep = first.map(Int.init)
        lastStep = records == 0 ? nil : Int(highest)
        tornLine = reader.tornLine
        keys = reader.metricNames
    }
}
