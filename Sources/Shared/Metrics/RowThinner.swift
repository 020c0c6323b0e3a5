// Fewer rows that say the same: of each bucket of rows those stay that hold the lowest or the highest value of some
// measured column, the first number that is not finite and the first text of a column; and of the run the first row and the
// last. A bucket of one column keeps two rows.

internal import Bytes

/// Takes rows one by one and gives back those that stay.
struct RowThinner {
    private let bucket: Int
    private let isMeasure: [Bool]
    private var index = -1
    private var kept: [Int: MetricsRow] = [:]
    private var lowest: [Extreme?]
    private var highest: [Extreme?]
    private var odd: [Int?]
    private var last: MetricsRow?
    private var hasLast = false

    private struct Extreme {
        var index: Int
        var value: Double
    }

    /// - Parameter isMeasure: the columns whose extremes count; when there is none, the last row of each bucket stays.
    init(bucket: Int, isMeasure: [Bool]) {
        self.bucket = bucket
        self.isMeasure = isMeasure
        lowest = isMeasure.map { _ in nil }
        highest = lowest
        odd = isMeasure.map { _ in nil }
    }

    /// - Parameter place: the row's number in the run, when rows were left out before; the next one otherwise.
    /// - Returns: the rows of a bucket that has ended.
    mutating func add(_ row: MetricsRow, at place: Int? = nil) -> [MetricsRow] {
        let next = place ?? index + 1
        let ended = index >= 0 && next / bucket != index / bucket ? takeBucket() : []
        index = next
        var isKept = next == 0
        for column in isMeasure.indices {
            let cell = row.cells[column]
            if cell.kind == .plain || cell.kind == .string, odd[column] == nil {
                odd[column] = index
                isKept = true
            }
            guard isMeasure[column], let value = cell.double(in: row.bytes) else { continue }
            if !value.isFinite {
                if odd[column] == nil {
                    odd[column] = index
                    isKept = true
                }
                continue
            }
            if lowest[column].map({ value < $0.value }) ?? true {
                lowest[column] = Extreme(index: index, value: value)
                isKept = true
            }
            if highest[column].map({ value > $0.value }) ?? true {
                highest[column] = Extreme(index: index, value: value)
                isKept = true
            }
        }
        if isKept {
            kept[index] = row
            // What nothing points to any more goes; now and then is often enough.
            if kept.count > 8 * isMeasure.count + 16 { forget() }
        }
        last = row
        hasLast = isKept
        return ended
    }

    /// - Returns: the rows of the last bucket.
    mutating func finish() -> [MetricsRow] {
        if let last, !hasLast { kept[index] = last }
        return takeBucket(isLast: true)
    }

    private func pointedTo() -> Set<Int> {
        Set(lowest.compactMap { $0?.index } + highest.compactMap { $0?.index } + odd.compactMap { $0 } + [0])
    }

    private mutating func forget() {
        let pointed = pointedTo()
        kept = kept.filter { pointed.contains($0.key) }
    }

    private mutating func takeBucket(isLast: Bool = false) -> [MetricsRow] {
        var pointed = pointedTo()
        if isLast || !isMeasure.contains(true) {
            pointed.insert(index)
            kept[index] = last
        }
        let rows = kept.keys.filter { pointed.contains($0) }.sorted().compactMap { kept[$0] }
        kept = [:]
        for column in isMeasure.indices {
            (lowest[column], highest[column], odd[column]) = (nil, nil, nil)
        }
        return rows
    }
}
