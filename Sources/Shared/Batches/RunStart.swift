// Where a run begins or goes on: a cursor is held against the recipe and the sources, and what may change at a cursor
// (length of rows, shares, sources added) is changed. A cursor that contradicts itself is refused before anything is
// computed from its numbers.

internal import Bytes

struct RunStart {
    /// The cursor to go on from, with this run's length and shares.
    let cursor: Cursor
    /// The cursor as it was given.
    let text: String

    /// What names the content of several sources: for one its digest.
    static func dataset(_ sources: some Collection<TokenSource>) -> Digest {
        if let only = sources.first, sources.count == 1 { return only.digest }
        return Digest.of("mix\n" + sources.map { "\($0.digest)\n" }.joined())
    }

    init(
        _ sources: [TokenSource], _ mixture: Mixture, _ recipe: Recipe, epochs: Int?, cursor: Cursor?
    ) throws(Fault) {
        let length = recipe.length
        var first = recipe
        var begin: Cursor
        var given: String?
        if var known = cursor {
            if known.places.count > sources.count {
                throw Fault(
                    .usage, "the cursor is of a run over \(known.places.count) sources, \(sources.count) were given",
                    hint: "a source that shall give no more rows has weight 0")
            }
            var now = length
            if let lengths = known.lengths {
                (first.length, now) = (lengths.first, lengths.now)
            } else if let other = RunStart.length(of: known), other != length {
                // A cursor of version 1 does not say the length, but its counts do.
                var candidate = recipe
                candidate.length = other
                let dataset = RunStart.dataset(sources[..<1])
                if candidate.fingerprint(dataset: dataset) == known.recipe { (first, now) = (candidate, other) }
            }
            if let mismatch = first.mismatch(
                with: known.recipe, dataset: RunStart.dataset(sources[..<known.places.count]))
            {
                throw mismatch
            }
            given = known.description
            // A cursor of version 1 counts its only source's tokens with the run's.
            if known.lengths == nil { known.places[0].emitted = known.emitted }
            for index in known.places.indices where known.places[index].grid == 0 { known.places[index].grid = now }
            if let reason = RunStart.contradiction(in: known, length: now, sources, recipe, epochs: epochs) {
                throw Fault(
                    .usage, "the cursor cannot be followed: \(reason)", hint: "copy it whole, as the stream carried it")
            }
            if now != length {
                for index in known.places.indices { try known.places[index].change(from: now, to: length) }
                known.lengths = Cursor.Lengths(first: first.length, now: length, earlierRows: known.rows)
            }
            begin = known
        } else {
            begin = Cursor(recipe: recipe.fingerprint(dataset: RunStart.dataset(sources)), places: [])
        }
        while begin.places.count < sources.count { begin.places.append(SourcePlace(grid: length)) }
        if sources.count > 1 {
            begin.lengths = begin.lengths ?? Cursor.Lengths(first: first.length, now: length, earlierRows: 0)
            if begin.places.map(\.share) != mixture.shares {
                for (index, share) in mixture.shares.enumerated() {
                    (begin.places[index].share, begin.places[index].taken) = (share, 0)
                }
            }
        }
        begin.recipe = first.fingerprint(dataset: RunStart.dataset(sources))
        self.cursor = begin
        text = given ?? begin.description
    }

    /// The length of all rows so far, when there are any.
    private static func length(of cursor: Cursor) -> Int? {
        let positions = cursor.emitted + cursor.padded
        guard cursor.rows > 0, positions % cursor.rows == 0, (1...1 << 30).contains(positions / cursor.rows) else {
            return nil
        }
        return positions / cursor.rows
    }

    /// - Parameter length: of the rows that the cursor counted last.
    private static func contradiction(
        in cursor: Cursor, length: Int, _ sources: [TokenSource], _ recipe: Recipe, epochs: Int?
    ) -> String? {
        if let epochs, sources.count == 1 {
            let place = cursor.places[0]
            let isInside = place.window > 0 || place.row > 0 || !place.stages.isEmpty
            if place.epoch > epochs || place.epoch == epochs && isInside {
                return "it stands in epoch \(place.epoch + 1) of \(epochs)"
            }
        }
        let earlier = cursor.lengths?.earlierRows ?? 0
        if earlier > cursor.rows { return "\(earlier) earlier rows of \(cursor.rows)" }
        let (positions, overflow) = (cursor.rows - earlier).multipliedReportingOverflow(by: length)
        let counted = cursor.emitted + cursor.padded
        if overflow || positions > counted || (counted - positions > 0) != (earlier > 0) {
            return
                "\(cursor.rows) rows of \(length) positions, but \(cursor.emitted) emitted + \(cursor.padded) padded"
        }
        var emitted = 0
        for (place, source) in zip(cursor.places, sources) {
            let grid = BlockGrid(source, length: place.grid, packing: recipe.packing)
            let windows = recipe.order == .full ? 1 : grid.windowCount
            if place.window >= windows && place.window > 0 { return "window \(place.window) of \(windows)" }
            let (whole, overflow) = source.tokenCount.multipliedReportingOverflow(by: place.epoch)
            if overflow || place.emitted < whole || place.emitted - whole > source.tokenCount {
                return "\(place.emitted) tokens emitted after \(place.epoch) epochs of \(source.tokenCount)"
            }
            emitted += place.emitted
        }
        if emitted != cursor.emitted { return "\(cursor.emitted) tokens emitted, but \(emitted) of its sources" }
        return cursor.batch > cursor.rows ? "\(cursor.batch) batches of \(cursor.rows) rows" : nil
    }
}
