// Rows of one run as they are shown: the chosen columns, smoothed and thinned on the way. Smoothing comes first, so that a
// thinned curve is the smooth one with fewer points; thinning keeps the lowest and the highest of each stretch, so that no
// spike is lost.

internal import Bytes

/// One step of a run: a cell for each chosen column, and the texts that they point into.
struct MetricsRow: Sendable {
    var step: Int
    var cells: [FlatJSON.Cell]
    /// With `FlatJSON.padding` bytes after the last text.
    var bytes: [UInt8]

    func double(_ column: Int) -> Double? { cells[column].double(in: bytes) }
    func value(_ column: Int) -> MetricsRecord.Value? { cells[column].value(in: bytes) }
}

/// What happens to rows between the file and the output.
public struct RowOptions: Sendable, Equatable {
    /// The weight of the past in the moving average, in 0 ..< 1; 0 smooths nothing.
    public var smoothing: Double
    /// Rows in a bucket of which only the telling ones are kept; 1 keeps all.
    public var every: Int

    public init(smoothing: Double = 0, every: Int = 1) {
        precondition((0..<1).contains(smoothing) && every >= 1, "smoothing \(smoothing), every \(every)")
        self.smoothing = smoothing
        self.every = every
    }

    var keepsRows: Bool { smoothing == 0 && every == 1 }
}

/// Where chosen columns stand among a reader's keys.
struct ColumnMap {
    let names: [String]
    /// The number of each column's key; -1 while the file has not had it.
    private(set) var numbers: [Int]
    private var known = 0

    init(_ names: [String]) {
        self.names = names
        numbers = [Int](repeating: -1, count: names.count)
    }

    mutating func update(_ keys: FlatJSON.Keys) {
        if keys.names.count == known { return }
        let places = [String: Int](uniqueKeysWithValues: keys.names.enumerated().map { ($1, $0) })
        for column in names.indices { numbers[column] = places[names[column]] ?? -1 }
        known = keys.names.count
    }
}

/// The rows of a run.
struct RowStream {
    private var reader: RowReader
    private var map: ColumnMap
    private var averages: [MovingAverage?]
    private let isSmoothing: Bool
    private var thinner: RowThinner?
    private var ready: [MetricsRow] = []
    private var nextReady = 0
    private var isFinished = false
    /// Rows read so far.
    private(set) var rowsRead = 0

    init(_ run: SurveyedRun, columns: [String], options: RowOptions) throws(Fault) {
        self.init(RowReader(try run.input.open()), columns: columns, options: options)
    }

    init(_ reader: RowReader, columns: [String], options: RowOptions) {
        self.reader = reader
        map = ColumnMap(columns)
        let isMeasure = columns.map { MetricMeaning.of($0).role == .measure }
        isSmoothing = options.smoothing > 0
        averages = isMeasure.map { $0 && options.smoothing > 0 ? MovingAverage(weight: options.smoothing) : nil }
        if options.every > 1 { thinner = RowThinner(bucket: options.every, isMeasure: isMeasure) }
    }

    /// The metrics met so far, without `step`.
    var metricNames: [String] { reader.metricNames }

    /// The next row, or nil at the end.
    mutating func next() throws(Fault) -> MetricsRow? {
        while thinner != nil {
            if nextReady < ready.count {
                nextReady += 1
                return ready[nextReady - 1]
            }
            if isFinished { return nil }
            nextReady = 0
            if let row = try read() {
                ready = thinner?.add(row) ?? []
            } else {
                isFinished = true
                ready = thinner?.finish() ?? []
            }
        }
        return try read()
    }

    private mutating func read() throws(Fault) -> MetricsRow? {
        guard try reader.nextRow() else { return nil }
        rowsRead += 1
        map.update(reader.keys)
        var row = MetricsRow(step: reader.step, cells: [], bytes: [])
        row.cells.reserveCapacity(map.numbers.count)
        for number in map.numbers {
            guard number >= 0, number < reader.slots.count, !reader.slots[number].isMissing else {
                row.cells.append(.missing)
                continue
            }
            var cell = reader.slots[number]
            let start = row.bytes.count
            row.bytes.append(contentsOf: reader.bytes[cell.range])
            cell.offset = UInt32(start)
            row.cells.append(cell)
        }
        if isSmoothing { smooth(&row) }
        row.bytes.append(contentsOf: repeatElement(0, count: FlatJSON.padding))
        return row
    }

    private mutating func smooth(_ row: inout MetricsRow) {
        for column in averages.indices where averages[column] != nil {
            guard let value = row.double(column), value.isFinite, let mean = averages[column]?.add(value) else {
                continue
            }
            let text = mean.description
            let start = row.bytes.count
            row.bytes.append(contentsOf: text.utf8)
            row.cells[column] = FlatJSON.Cell(
                key: Int(row.cells[column].key), kind: .number, offset: start, length: row.bytes.count - start)
        }
    }
}

/// An exponential moving average that is not drawn to zero at its start: the weighted sum over the sum of the weights (the
/// correction of Adam, Kingma & Ba 2015, and of TensorBoard's smoothing). Values that are not finite stay out of it.
struct MovingAverage {
    let weight: Double
    private var sum = 0.0
    private var weights = 0.0

    init(weight: Double) { self.weight = weight }

    mutating func add(_ value: Double) -> Double {
        sum = weight * sum + (1 - weight) * value
        weights = weight * weights + (1 - weight)
        return sum / weights
    }
}
