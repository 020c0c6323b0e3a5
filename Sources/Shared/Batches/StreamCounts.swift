// How far a run's stream has come: counts and the digest of all its rows. HEAD says it of the place where the stream
// begins, the reader adds every batch that arrives, and DONE must come to the same. So a batch that was lost is noticed
// wherever it was lost, the first one included.

public import Bytes

/// What a run has emitted up to some batch (docs/formats/batch-stream.md, HEAD).
public struct StreamCounts: Sendable, Equatable {
    /// Also the index of the next batch.
    public var batches = 0
    /// Rows of padding included.
    public var rows = 0
    /// Real positions.
    public var emitted = 0
    /// Padding positions.
    public var padded = 0
    public var orderDigest = OrderDigest()
    /// Of `rows`, those that had another length than HEAD's, and the positions in them.
    public var earlierRows = 0
    public var earlierPositions = 0

    /// Nothing yet.
    public init() {}

    /// No count is larger: a run adds to them without looking for an overflow.
    static let maximum = 1 << 61

    public var json: JSON {
        var object: JSONObject = [
            "batches": .integer(batches), "rows": .integer(rows), "emitted": .integer(emitted),
            "padded": .integer(padded), "order_digest": .string(orderDigest.description),
        ]
        if earlierRows > 0 {
            object["earlier_rows"] = .integer(earlierRows)
            object["earlier_positions"] = .integer(earlierPositions)
        }
        return .object(object)
    }

    /// Positions of `rows` rows of the run, when those that HEAD does not call earlier have its length; nil when that is
    /// no number.
    func positions(rows: Int, length: Int) -> Int? {
        guard rows >= earlierRows else { return nil }
        let (product, overflow) = (rows - earlierRows).multipliedReportingOverflow(by: length)
        let (sum, sumOverflow) = product.addingReportingOverflow(earlierPositions)
        return overflow || sumOverflow ? nil : sum
    }

    /// `before` in HEAD.
    /// - Parameter length: T; the counts must agree with it.
    init(_ head: HeadFields, length: Int) throws(Fault) {
        guard let json = head.json["before"], json.objectValue != nil else {
            throw head.fault("\"before\" in HEAD is not an object")
        }
        let fields = HeadFields(json: json, name: head.name, base: head.base, frame: "HEAD's \"before\"")
        let range = 0...StreamCounts.maximum
        batches = try fields.integer("batches", in: range)
        rows = try fields.integer("rows", in: range)
        emitted = try fields.integer("emitted", in: range)
        padded = try fields.integer("padded", in: range)
        guard let digest = OrderDigest(try fields.string("order_digest")) else {
            throw fields.fault("\"order_digest\" in HEAD's \"before\" is not 32 hexadecimal digits")
        }
        orderDigest = digest
        if json["earlier_rows"] != nil || json["earlier_positions"] != nil {
            earlierRows = try fields.integer("earlier_rows", in: range)
            earlierPositions = try fields.integer("earlier_positions", in: range)
        }
        if positions(rows: rows, length: length) != emitted + padded {
            throw fields.fault(
                "HEAD counts \(rows) rows of \(length) positions, but emitted \(emitted) + padded \(padded)")
        }
    }

    /// Adds a batch, whose rows are in the digest already.
    mutating func add(_ batch: TokenBatch) {
        let positions = batch.rows * batch.length
        let real = batch.realPositions
        batches += 1
        rows += batch.rows
        emitted += real
        padded += positions - real
    }
}
