// One source of a run on its way: the window that is open, the one that is read ahead, and the tokens of all windows that
// were opened. It is asked for rows one stretch after another and opens what it needs; when it is asked is its run's
// affair.

internal import Bytes
private import Tokens

/// Rows of one source, from a place on.
struct SourceRun {
    /// What stays the same while a run goes.
    struct Settings {
        var source: TokenSource
        var recipe: Recipe
        /// Number among the run's sources: they are permuted independently.
        var number: Int
        /// Sources of the run, which share the memory for what is read ahead.
        var count: Int

        /// The first source has the run's seed, so that a run over one source can become a mixed one.
        var seed: UInt64 {
            number == 0 ? recipe.seed : splitmix64(recipe.seed ^ splitmix64(UInt64(number)))
        }

        func reader(gridLength: Int) -> BlockReader {
            BlockReader(source, gridLength: gridLength, packing: recipe.packing, mask: recipe.mask)
        }

        /// The blocks of a window, in order.
        func blocks(_ grid: BlockGrid, epoch: Int, window: Int) -> [Int] {
            let places = grid.places(ofWindow: window)
            if recipe.order == .sequential { return Array(places) }
            let permutation = FeistelPermutation(
                count: grid.blockCount, seed: seed, purpose: Purpose.blocks, epoch: epoch)
            return places.map { permutation($0) }
        }

        func windowCount(_ grid: BlockGrid) -> Int { recipe.order == .full ? 1 : grid.windowCount }

        /// The order of the rows of a window (of an epoch, with `full`).
        func permutation(count: Int, epoch: Int, window: Int, stage: Int) -> FeistelPermutation? {
            switch recipe.order {
            case .sequential: nil
            case .window:
                FeistelPermutation(
                    count: count, seed: seed, purpose: Purpose.rows, epoch: epoch, window: window, stage: stage)
            case .full:
                FeistelPermutation(count: count, seed: seed, purpose: Purpose.epochRows, epoch: epoch, stage: stage)
            }
        }

        /// The rows of the window that a place is in.
        func layout(_ reader: BlockReader, _ place: SourcePlace) throws(Fault) -> RowLayout {
            try RowLayout(
                reader,
                blocks: recipe.order == .full ? nil : blocks(reader.grid, epoch: place.epoch, window: place.window),
                stages: place.stages, length: recipe.length
            ) { permutation(count: $0, epoch: place.epoch, window: place.window, stage: $1) }
        }
    }

    let settings: Settings
    private(set) var place: SourcePlace
    /// Tokens of all windows opened in the whole run.
    private(set) var tokensIn: Int
    private let pool: WorkPool
    private var current: (any RowSource)?
    /// Of the open window.
    private var grid: BlockGrid?
    /// The place whose window is being read, its blocks as far as they were asked for, and those still to be.
    private struct Ahead {
        var place: SourcePlace
        var reader: BlockReader
        var tickets: [Ticket<PackedBlock>] = []
        var rest: ArraySlice<Int>
        var layout: RowLayout?
    }
    private var ahead: Ahead?
    /// Of the last epoch, when all its rows are numbered: another epoch of the same grid has the same.
    private var epochLayout: (grid: Int, layout: RowLayout)?

    /// Bytes of all sources' windows that may be in memory as a whole.
    private let windowBytes: Int

    /// Whether rows of a window wait for their turn in less memory than it takes (`WaitingRows`), at the price of reading
    /// its blocks more than once: a run over one source never does that, a mix where the windows would be too much.
    private func isSpread(_ grid: BlockGrid) -> Bool {
        let tokens = min(grid.windowBlocks * grid.blockTokens, settings.source.tokenCount)
        return settings.count > 1 && tokens * settings.source.type.byteCount > windowBytes / settings.count
    }

    /// Bytes of the next window that are read while one is open. Two whole windows would be twice the memory.
    private static let aheadBytes = 6 << 20

    init(_ settings: Settings, at place: SourcePlace, windowBytes: Int, pool: WorkPool) {
        self.windowBytes = windowBytes
        self.settings = settings
        self.place = place
        self.pool = pool
        tokensIn = place.emitted
    }

    /// Whether a window is open.
    var isOpen: Bool { current != nil }

    /// Whether the place is inside a window that has not been opened yet.
    var isInside: Bool { current == nil && (place.row > 0 || !place.stages.isEmpty) }

    /// Opens the window that the place stands in.
    /// - Parameters:
    ///   - goesOn: whether the epoch after this one will be needed too; nil: no other window will.
    ///   - wait: called before anything is waited for.
    mutating func open(goesOn: Bool?, wait: () throws -> Void) throws {
        let source: any RowSource
        let reader: BlockReader
        if settings.recipe.order == .full {
            reader = settings.reader(gridLength: place.grid)
            let layout: RowLayout
            if let epochLayout, place.stages.isEmpty, epochLayout.grid == place.grid {
                layout = epochLayout.layout
            } else {
                try wait()
                layout = try settings.layout(reader, place)
            }
            if place.stages.isEmpty { epochLayout = (place.grid, layout) }
            guard
                let permutation = settings.permutation(
                    count: layout.rowCount, epoch: place.epoch, window: 0, stage: place.stages.count)
            else { preconditionFailure("an epoch in full order has a permutation") }
            source = WaitingRows(
                reader, layout: layout, length: settings.recipe.length, permutation: permutation, begin: place.row,
                waitingBytes: WaitingRows.waitingBytes / settings.count, pool: pool)
        } else if case let spread = settings.reader(gridLength: place.grid), isSpread(spread.grid) {
            try wait()
            reader = spread
            let layout = try settings.layout(reader, place)
            source = WaitingRows(
                reader, layout: layout, length: settings.recipe.length,
                permutation: settings.permutation(
                    count: layout.rowCount, epoch: place.epoch, window: place.window, stage: place.stages.count),
                begin: place.row, waitingBytes: WaitingRows.waitingBytes / settings.count, pool: pool)
        } else {
            if ahead?.place.epoch != place.epoch || ahead?.place.window != place.window { ahead = try begin(place) }
            // What is ready goes out before we wait for what is not, and takes the last window's memory with it.
            try wait()
            readAhead(all: true)
            guard let ready = ahead else { preconditionFailure("a window is being read") }
            reader = ready.reader
            source = WindowRows(try ready.tickets.map { try $0.value() }) {
                settings.permutation(
                    count: $0, epoch: place.epoch, window: place.window, stage: place.stages.count)
            }
            ahead = nil
            let next = place.following(
                windowCount: settings.windowCount(reader.grid), length: settings.recipe.length)
            if let goesOn, next.epoch == place.epoch || goesOn {
                ahead = try begin(next)
                readAhead(all: false)
            }
        }
        grid = reader.grid
        current = source
        try count(source)
    }

    private func begin(_ place: SourcePlace) throws -> Ahead {
        let reader = settings.reader(gridLength: place.grid)
        let layout = place.stages.isEmpty ? nil : try settings.layout(reader, place)
        let blocks = settings.blocks(reader.grid, epoch: place.epoch, window: place.window)
        return Ahead(place: place, reader: reader, rest: blocks[...], layout: layout)
    }

    /// Asks for the blocks of the next window, as many as may wait or all of them.
    private mutating func readAhead(all: Bool) {
        guard var ahead else { return }
        let (reader, length) = (ahead.reader, settings.recipe.length)
        let bytes = reader.grid.blockTokens * settings.source.type.byteCount
        while let block = ahead.rest.first,
            all || (ahead.tickets.count + 1) * bytes <= SourceRun.aheadBytes / settings.count
        {
            let place = ahead.layout.map { ($0, index: ahead.tickets.count) }
            ahead.tickets.append(
                pool.submit(urgent: false) {
                    try reader.read(block, length: length, left: place, using: $0.decompressor)
                })
            ahead.rest.removeFirst()
        }
        self.ahead = ahead
    }

    /// Enters an opened window into the books; on a resume only what the cursor has not counted.
    private mutating func count(_ source: any RowSource) throws {
        if place.row > 0, place.row >= source.rowCount {
            throw Fault(.usage, "the cursor cannot be followed: row \(place.row) of \(source.rowCount) in its window")
        }
        if let positions = try source.realPositions(before: place.row) {
            tokensIn += positions.all - positions.before
        } else {
            tokensIn = (place.epoch + 1) * settings.source.tokenCount
        }
        // A window all of whose rows were taken before their length changed.
        if source.rowCount == 0 { try close() }
    }

    /// Takes up to `limit` rows of the open window.
    /// - Returns: the rows and how many they are.
    mutating func take(_ limit: Int) throws -> (rows: any RowStretch, count: Int) {
        guard let current else { preconditionFailure("no window is open") }
        let count = min(limit, current.rowCount - place.row)
        let rows = current.plan(place.row..<place.row + count)
        place.row += count
        place.taken += count
        if place.row == current.rowCount { try close() }
        return (rows, count)
    }

    private mutating func close() throws {
        guard let grid else { preconditionFailure("no window is open") }
        let next = place.following(windowCount: settings.windowCount(grid), length: settings.recipe.length)
        current = nil
        if next.epoch > place.epoch {
            let expected = next.epoch * settings.source.tokenCount
            if tokensIn != expected {
                throw LedgerViolation(
                    description: "after \(next.epoch) epochs of \(settings.source.tokenCount) tokens "
                        + "\(tokensIn) have been read, expected \(expected)")
            }
        }
        place = next
    }

    /// Tokens of the open window that were not emitted.
    /// - Parameter emitted: of this source, in the whole run.
    func tokensLeftOver(emitted: Int) throws -> Int {
        guard let current else { return 0 }
        if let positions = try current.realPositions(before: place.row) { return positions.all - positions.before }
        return tokensIn - emitted
    }
}
