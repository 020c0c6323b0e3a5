// A cursor is the whole state of a run's data in one short word: which row comes next, what has been counted so far
// and the digest of all rows emitted. It travels in every batch, so that whoever applied a batch can say exactly
// where to go on (docs/formats/batch-stream.md, Cursor).

public import Bytes

/// Where a stream stands after a batch.
public struct Cursor: Sendable, Equatable, CustomStringConvertible {
    /// 16 hexadecimal digits (`Recipe.fingerprint`).
    public var recipe: String
    /// Epochs completed.
    public var epoch: Int
    /// Windows of this epoch completed, in the epoch's order.
    public var block: Int
    /// Rows of that window already emitted.
    public var row: Int
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

    /// The beginning of a run.
    public init(recipe: String) {
        self.recipe = recipe
        (epoch, block, row, batch, rows, emitted, padded) = (0, 0, 0, 0, 0, 0, 0)
        digest = OrderDigest()
    }

    /// What a stream that begins here says in its HEAD.
    var counts: StreamCounts {
        var counts = StreamCounts()
        (counts.batches, counts.rows, counts.emitted, counts.padded) = (batch, rows, emitted, padded)
        counts.orderDigest = digest
        return counts
    }

    public var description: String {
        "1:\(recipe):\(epoch):\(block):\(row):\(batch):\(rows):\(emitted):\(padded):\(digest)"
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
            throw fault("expected at most 200 printable characters without spaces")
        }
        if parts[0] != "1" { throw fault("its version is \(quoted(parts[0])), this program knows 1") }
        guard parts.count == 10 else { throw fault("expected 10 parts, found \(parts.count)") }
        guard bytesFromHexadecimal(parts[1])?.count == 8 else { throw fault("its recipe is not 16 hexadecimal digits") }
        var numbers: [Int] = []
        for part in parts[2..<9] {
            guard part.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(part) else {
                throw fault("\(quoted(part)) is not a number")
            }
            if number > StreamCounts.maximum { throw fault("\(part) is more than a run can count") }
            numbers.append(number)
        }
        guard let digest = OrderDigest(parts[9]) else { throw fault("its digest is not 32 hexadecimal digits") }
        recipe = parts[1]
        (epoch, block, row, batch) = (numbers[0], numbers[1], numbers[2], numbers[3])
        (rows, emitted, padded) = (numbers[4], numbers[5], numbers[6])
        self.digest = digest
    }

    /// Printable ASCII without spaces or quotes, 1 to 200 bytes: safe in any shell's argument.
    public static func isWellSpelled(_ text: String) -> Bool {
        isWellSpelled(text.utf8)
    }

    static func isWellSpelled(_ text: some Collection<UInt8>) -> Bool {
        (1...200).contains(text.count) && text.allSatisfy { (0x21...0x7e).contains($0) && $0 != 0x22 && $0 != 0x27 }
    }
}
