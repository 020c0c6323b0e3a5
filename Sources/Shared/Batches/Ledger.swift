// The account of a stream: every token that was read for it is emitted or left over, every position of every batch is
// real or padding. Writer and reader both check it; a stream whose books do not balance has no DONE.

public import Bytes

/// Counts of the whole run up to DONE (docs/formats/batch-stream.md, DONE).
public struct Ledger: Sendable, Equatable {
    /// Tokens of the windows opened.
    public var tokensIn: Int
    /// Real positions in batches.
    public var emitted: Int
    /// Padding positions in batches.
    public var padded: Int
    /// Tokens of an opened window that `--limit` kept back.
    public var leftOver: Int

    public init(tokensIn: Int, emitted: Int, padded: Int, leftOver: Int) {
        self.tokensIn = tokensIn
        self.emitted = emitted
        self.padded = padded
        self.leftOver = leftOver
    }

    /// What does not balance of the tokens, or nil.
    var unaccounted: String? {
        let (accounted, overflow) = emitted.addingReportingOverflow(leftOver)
        if !overflow && tokensIn == accounted { return nil }
        return "tokens in \(tokensIn), but emitted \(emitted) + left over \(leftOver)"
    }

    /// What does not balance, or nil.
    /// - Parameter before: what HEAD says of the place where the stream begins.
    public func imbalance(rows: Int, length: Int, before: StreamCounts = StreamCounts()) -> String? {
        if let unaccounted { return unaccounted }
        let (held, sumOverflow) = emitted.addingReportingOverflow(padded)
        if sumOverflow || before.positions(rows: rows, length: length) != held {
            return "\(rows) rows of \(length) positions, but emitted \(emitted) + padded \(padded)"
        }
        return nil
    }
}

/// What DONE of one rank's stream says of all ranks together.
public struct RunTotals: Sendable, Equatable {
    /// Rows of the whole run, rows of padding included.
    public var rows: Int
    public var ledger: Ledger
    public var orderDigest: OrderDigest
}

/// DONE: how a stream ended.
public struct StreamEnd: Sendable, Equatable {
    /// Batches of the whole run.
    public var batches: Int
    /// Rows of the whole run, rows of padding included.
    public var rows: Int
    public var ledger: Ledger
    public var orderDigest: OrderDigest
    /// Where the next stream of this run goes on.
    public var cursor: String
    /// In the stream of one rank of several, whose other counts are its own.
    public var run: RunTotals?

    public init(
        batches: Int, rows: Int, ledger: Ledger, orderDigest: OrderDigest, cursor: String, run: RunTotals? = nil
    ) {
        self.run = run
        self.batches = batches
        self.rows = rows
        self.ledger = ledger
        self.orderDigest = orderDigest
        self.cursor = cursor
    }

    public var json: JSON {
        var object: JSONObject = [
            "batches": .integer(batches), "rows": .integer(rows), "ledger": ledger.json,
            "order_digest": .string(orderDigest.description), "cursor": .string(cursor),
        ]
        if let run {
            object["run"] = [
                "rows": .integer(run.rows), "ledger": run.ledger.json,
                "order_digest": .string(run.orderDigest.description),
            ]
        }
        return .object(object)
    }

    /// - Parameter head: of the stream; the ledger must balance.
    public init(parsing payload: [UInt8], head: StreamHead, name: String, base: Int) throws(Fault) {
        let json = try JSON(parsing: payload, name: name, base: base)
        let fields = HeadFields(json: json, name: name, base: base, frame: "DONE")
        batches = try fields.integer("batches", in: 0...Int.max)
        let totals = try RunTotals(fields) { $0.imbalance(rows: $1, length: head.length, before: head.before) }
        (rows, ledger, orderDigest) = (totals.rows, totals.ledger, totals.orderDigest)
        cursor = try fields.string("cursor")
        if !Cursor.isWellSpelled(cursor) { throw fields.fault("\"cursor\" in DONE is no cursor: \(quoted(cursor))") }
        guard let whole = json["run"] else {
            if head.world > 1 { throw fields.fault("\"run\" is missing in DONE of a stream of one rank") }
            return
        }
        guard whole.objectValue != nil else { throw fields.fault("\"run\" in DONE is not an object") }
        // How long the rows of the run were before this stream is not said, so only the tokens can be checked.
        run = try RunTotals(HeadFields(json: whole, name: name, base: base, frame: "DONE's \"run\"")) { ledger, _ in
            ledger.unaccounted
        }
    }
}

extension Ledger {
    fileprivate var json: JSON {
        [
            "tokens_in": .integer(tokensIn), "emitted": .integer(emitted), "padded": .integer(padded),
            "left_over": .integer(leftOver),
        ]
    }
}

extension RunTotals {
    /// - Parameter imbalance: what does not balance in a ledger of so many rows.
    fileprivate init(_ fields: HeadFields, imbalance: (Ledger, Int) -> String?) throws(Fault) {
        let counts = 0...Int.max
        rows = try fields.integer("rows", in: counts)
        guard let account = fields.json["ledger"], account.objectValue != nil else {
            throw fields.fault("\"ledger\" in \(fields.frame) is not an object")
        }
        let entries = HeadFields(json: account, name: fields.name, base: fields.base, frame: fields.frame)
        ledger = Ledger(
            tokensIn: try entries.integer("tokens_in", in: counts), emitted: try entries.integer("emitted", in: counts),
            padded: try entries.integer("padded", in: counts), leftOver: try entries.integer("left_over", in: counts))
        if let reason = imbalance(ledger, rows) {
            throw fields.fault("the ledger in \(fields.frame) does not balance: \(reason)")
        }
        guard let digest = OrderDigest(try fields.string("order_digest")) else {
            throw fields.fault("\"order_digest\" in \(fields.frame) is not 32 hexadecimal digits")
        }
        orderDigest = digest
    }
}
