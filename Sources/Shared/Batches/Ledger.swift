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

    /// What does not balance, or nil.
    public func imbalance(rows: Int, length: Int) -> String? {
        let (accounted, overflow) = emitted.addingReportingOverflow(leftOver)
        if overflow || tokensIn != accounted {
            return "tokens in \(tokensIn), but emitted \(emitted) + left over \(leftOver)"
        }
        let (positions, productOverflow) = rows.multipliedReportingOverflow(by: length)
        let (held, sumOverflow) = emitted.addingReportingOverflow(padded)
        if productOverflow || sumOverflow || positions != held {
            return "\(rows) rows of \(length) positions, but emitted \(emitted) + padded \(padded)"
        }
        return nil
    }
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

    public init(batches: Int, rows: Int, ledger: Ledger, orderDigest: OrderDigest, cursor: String) {
        self.batches = batches
        self.rows = rows
        self.ledger = ledger
        self.orderDigest = orderDigest
        self.cursor = cursor
    }

    public var json: JSON {
        [
            "batches": .integer(batches), "rows": .integer(rows),
            "ledger": [
                "tokens_in": .integer(ledger.tokensIn), "emitted": .integer(ledger.emitted),
                "padded": .integer(ledger.padded), "left_over": .integer(ledger.leftOver),
            ],
            "order_digest": .string(orderDigest.description), "cursor": .string(cursor),
        ]
    }

    /// - Parameter length: T, from HEAD; the ledger must balance.
    public init(parsing payload: [UInt8], length: Int, name: String, base: Int) throws(Fault) {
        let json = try JSON(parsing: payload, name: name, base: base)
        let fields = HeadFields(json: json, name: name, base: base, frame: "DONE")
        let counts = 0...Int.max
        batches = try fields.integer("batches", in: counts)
        rows = try fields.integer("rows", in: counts)
        guard let account = json["ledger"], account.objectValue != nil else {
            throw fields.fault("\"ledger\" in DONE is not an object")
        }
        let entries = HeadFields(json: account, name: name, base: base, frame: "DONE")
        ledger = Ledger(
            tokensIn: try entries.integer("tokens_in", in: counts), emitted: try entries.integer("emitted", in: counts),
            padded: try entries.integer("padded", in: counts), leftOver: try entries.integer("left_over", in: counts))
        if let imbalance = ledger.imbalance(rows: rows, length: length) {
            throw fields.fault("the ledger in DONE does not balance: \(imbalance)")
        }
        guard let digest = OrderDigest(try fields.string("order_digest")) else {
            throw fields.fault("\"order_digest\" in DONE is not 32 hexadecimal digits")
        }
        orderDigest = digest
        cursor = try fields.string("cursor")
        if !Cursor.isWellSpelled(cursor) { throw fields.fault("\"cursor\" in DONE is no cursor: \(quoted(cursor))") }
    }
}
