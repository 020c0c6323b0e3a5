// Where a run stands in one of its sources. A window is opened, its rows are taken one after the other, and the next one
// is opened; when the length of rows changes in between, what is left of the window is packed anew, and how it came to be
// what it is has to be remembered until the window is done.

internal import Bytes

/// A place in the rows of one source (docs/formats/batch-stream.md, Cursor).
public struct SourcePlace: Sendable, Equatable {
    /// Rows of one length that were taken of the open window before the length changed.
    public struct Stage: Sendable, Equatable {
        public var length: Int
        public var rows: Int
    }

    /// The source's share of the rows (`Mixture.shares`).
    public var share = 1
    /// Rows taken since the shares were set.
    public var taken = 0
    /// Real positions emitted in the whole run.
    public var emitted = 0
    /// Epochs completed.
    public var epoch = 0
    /// Windows of this epoch completed, in the epoch's order.
    public var window = 0
    /// Rows of that window emitted since the last change of length.
    public var row = 0
    /// The length that this epoch began with, which its blocks are cut by.
    public var grid: Int
    /// What was taken of the open window with earlier lengths, oldest first.
    public var stages: [Stage] = []

    public init(grid: Int) { self.grid = grid }

    /// Most changes of length inside one window; a cursor has room for them.
    static let maximumStages = 8

    /// The place for rows of another length.
    mutating func change(from length: Int, to newLength: Int) throws(Fault) {
        if row > 0 {
            if stages.count == SourcePlace.maximumStages {
                throw Fault(
                    .usage, "the length of rows has changed \(stages.count) times in this window already",
                    hint: "go on with --length \(length) for a while")
            }
            stages.append(Stage(length: length, rows: row))
            row = 0
        } else if window == 0, stages.isEmpty {
            grid = newLength
        }
    }

    /// The beginning of the next window, or of the next epoch.
    /// - Parameter length: of rows, for the blocks of an epoch that begins.
    func following(windowCount: Int, length: Int) -> SourcePlace {
        var next = self
        (next.row, next.stages) = (0, [])
        next.window += 1
        if next.window >= windowCount { (next.epoch, next.window, next.grid) = (epoch + 1, 0, length) }
        return next
    }
}

extension SourcePlace {
    /// `share.taken.emitted.epoch.window.row.grid`, then `.length.rows` a stage.
    var text: String {
        ([share, taken, emitted, epoch, window, row, grid] + stages.flatMap { [$0.length, $0.rows] })
            .map(String.init).joined(separator: ".")
    }

    /// - Parameter numbers: at most `StreamCounts.maximum` each. nil when they cannot be a place.
    init?(_ numbers: [Int]) {
        guard numbers.count >= 7, numbers.count % 2 == 1, numbers.count <= 7 + 2 * SourcePlace.maximumStages,
            (1...1 << 30).contains(numbers[6])
        else { return nil }
        (share, taken, emitted) = (numbers[0], numbers[1], numbers[2])
        (epoch, window, row, grid) = (numbers[3], numbers[4], numbers[5], numbers[6])
        for index in stride(from: 7, to: numbers.count, by: 2) {
            guard (1...1 << 30).contains(numbers[index]), numbers[index + 1] > 0 else { return nil }
            stages.append(Stage(length: numbers[index], rows: numbers[index + 1]))
        }
        if share > 1 << 56 { return nil }
    }
}
