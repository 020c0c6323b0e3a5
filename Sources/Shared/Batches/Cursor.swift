// A cursor is the whole state of a run's data in one short word: which row comes next, what has been counted so far
// and the digest of all rows emitted. It travels in every batch, so that whoever applied a batch can say exactly
// where to go on (docs/formats/batch-stream.md, Cursor).

public import Bytes

/// Where a stream stands after a batch.
public struct Cursor: Sendable, Equatable, CustomStringConvertible {
    /// What a cursor of version 2 says of the lengths of rows. Without it every row of the run had the same.
    struct Lengths: Sendable, Equatable {
        /// T of the run's first row, which is part of its recipe.
        var first: Int
        /// T now.
        var now: Int
        /// Rows that were emitted before T became that.
        var earlierRows: Int
    }

    /// 16 hexadecimal digits (`Recipe.fingerprint`).
    public var recipe: String
    /// Where the run stands in each source; a plain run has one.
    public var places: [SourcePlace]
    /// Batches emitted since the run began; also the index of the next batch.
    public var batch: Int
    /// Rows emitted, rows of padding included.
    public var rows: Int
    /// Real positions emitted.
    public var emitted: Int
    /// Padding positions emitted.
    public var padded: Int
    /// 16 bytes over every row emitted.
    public var digest: OrderDigest
    var lengths: Lengths?

    /// The beginning of a run over one source.
    public init(recipe: String) { self.init(recipe: recipe, places: [SourcePlace(grid: 0)]) }

    init(recipe: String, places: [SourcePlace]) {
        self.recipe = recipe
        self.places = places
        (batch, rows, emitted, padded) = (0, 0, 0, 0)
        digest = OrderDigest()
    }

    /// Epochs completed, of the first source.
    public var epoch: Int {
        get { places[0].epoch }
        set { places[0].epoch = newValue }
    }
    /// Windows of this epoch completed in the epoch's order, of the first source.
    public var block: Int {
        get { places[0].window }
        set { places[0].window = newValue }
    }
    /// Rows of that window already emitted.
    public var row: Int {
        get { places[0].row }
        set { places[0].row = newValue }
    }

    /// What a stream that begins here says in its HEAD.
    var counts: StreamCounts {
        var counts = StreamCounts()
        (counts.batches, counts.rows, counts.emitted, counts.padded) = (batch, rows, emitted, padded)
        counts.orderDigest = digest
        if let lengths, lengths.earlierRows > 0 {
            (counts.earlierRows, counts.earlierPositions) = (
                lengths.earlierRows, emitted + padded - (rows - lengths.earlierRows) * lengths.now
            )
        }
        return counts
    }

    public var description: String {
        guard let lengths else {
            return "1:\(recipe):\(epoch):\(block):\(row):\(batch):\(rows):\(emitted):\(padded):\(digest)"
        }
        return "2:\(recipe):\(batch):\(rows):\(emitted):\(padded):\(lengths.first):\(lengths.now):"
            + "\(lengths.earlierRows):\(places.map(\.text).joined(separator: ",")):\(digest)"
    }

    /// What a run has in a cursor's place that has read nothing yet.
    public static let start = "start"

    /// A run's cursor; nil: it begins.
    /// - Throws: as `init(parsing:)`.
    public static func parsing(ofRun text: String) throws(Fault) -> Cursor? {
        text == start ? nil : try Cursor(parsing: text)
    }

    /// - Throws: `Fault` (usage) for text that no stream ever carried.
    public init(parsing text: String) throws(Fault) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        func fault(_ reason: String) -> Fault {
            Fault(
                .usage, "\(quoted(text)) is no cursor: \(reason)",
                hint: "a cursor is printed by ckpt-tool get RUN/latest cursor")
        }
        guard Cursor.isWellSpelled(text) else {
            throw fault("expected at most \(Cursor.maximumCount) printable characters without spaces")
        }
        guard let count = ["1": 10, "2": 11][parts[0]] else {
            throw fault("its version is \(quoted(parts[0])), this program knows 1 and 2")
        }
        guard parts.count == count else { throw fault("expected \(count) parts, found \(parts.count)") }
        guard bytesFromHexadecimal(parts[1])?.count == 8 else { throw fault("its recipe is not 16 hexadecimal digits") }
        guard let digest = OrderDigest(parts[count - 1]) else { throw fault("its digest is not 32 hexadecimal digits") }
        self.digest = digest
        recipe = parts[1]
        if parts[0] == "1" {
            let numbers = try Self.numbers(Array(parts[2..<9]), fault)
            (batch, rows, emitted, padded) = (numbers[3], numbers[4], numbers[5], numbers[6])
            var place = SourcePlace(grid: 0)
            (place.epoch, place.window, place.row) = (numbers[0], numbers[1], numbers[2])
            places = [place]
            return
        }
        let numbers = try Self.numbers(Array(parts[2..<9]), fault)
        (batch, rows, emitted, padded) = (numbers[0], numbers[1], numbers[2], numbers[3])
        let lengths = Lengths(first: numbers[4], now: numbers[5], earlierRows: numbers[6])
        for length in [lengths.first, lengths.now] where !(1...1 << 30).contains(length) {
            throw fault("rows of \(length) targets, expected 1 to \(1 << 30)")
        }
        self.lengths = lengths
        places = []
        for part in parts[9].split(separator: ",", omittingEmptySubsequences: false) {
            let fields = part.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
            guard let place = SourcePlace(try Self.numbers(fields, fault)) else {
                throw fault("\(quoted(String(part))) is no place in a source")
            }
            places.append(place)
        }
    }

    private static func numbers(_ parts: [String], _ fault: (String) -> Fault) throws(Fault) -> [Int] {
        var numbers: [Int] = []
        for part in parts {
            guard !part.isEmpty, part.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(part),
                number <= StreamCounts.maximum
            else { throw fault("\(quoted(part)) is not a number that a run can count to") }
            numbers.append(number)
        }
        return numbers
    }

    /// Bytes of the longest cursor.
    static let maximumCount = 16000

    /// Printable ASCII without spaces or quotes, 1 to 16,000 bytes: safe in any shell's argument.
    public static func isWellSpelled(_ text: String) -> Bool {
        isWellSpelled(text.utf8)
    }

    static func isWellSpelled(_ text: some Collection<UInt8>) -> Bool {
        (1...maximumCount).contains(text.count)
            && text.allSatisfy { (0x21...0x7e).contains($0) && $0 != 0x22 && $0 != 0x27 }
    }
}
