// The other side of the ledger: documents that were read and are not in the dataset, by reason. Kept for each dataset
// and each shard, so that a merge adds them up (docs/formats/dataset.md).

public import Bytes

/// Documents that an ingest left out.
public struct LeftOut: Sendable, Hashable {
    /// Documents and their tokens, end-of-document ids included.
    public struct Count: Sendable, Hashable {
        public var documents = 0
        public var tokens = 0

        public init(documents: Int = 0, tokens: Int = 0) {
            self.documents = documents
            self.tokens = tokens
        }
    }

    /// Why a document with tokens was left out, as JSON spells it.
    public enum Reason: String, Sendable, CaseIterable {
        /// A copy of an earlier document (`--dedup exact`).
        case duplicate
        /// Below `--min-tokens`.
        case tooShort = "too_short"
        /// Above `--max-tokens`.
        case tooLong = "too_long"
    }

    /// Documents without a byte of text or an id.
    public var empty = 0
    private var duplicate = Count()
    private var tooShort = Count()
    private var tooLong = Count()

    public init() {}

    public subscript(reason: Reason) -> Count {
        get {
            switch reason {
            case .duplicate: duplicate
            case .tooShort: tooShort
            case .tooLong: tooLong
            }
        }
        set {
            switch reason {
            case .duplicate: duplicate = newValue
            case .tooShort: tooShort = newValue
            case .tooLong: tooLong = newValue
            }
        }
    }

    public var isEmpty: Bool { self == LeftOut() }

    /// Documents that had tokens.
    public var documents: Int { duplicate.documents + tooShort.documents + tooLong.documents }

    public static func + (left: LeftOut, right: LeftOut) -> LeftOut { combine(left, right) { $0 &+ $1 } }

    public static func += (left: inout LeftOut, right: LeftOut) { left = left + right }

    public static func - (left: LeftOut, right: LeftOut) -> LeftOut { combine(left, right) { $0 - $1 } }

    private static func combine(_ left: LeftOut, _ right: LeftOut, _ join: (Int, Int) -> Int) -> LeftOut {
        var result = LeftOut()
        result.empty = join(left.empty, right.empty)
        for reason in Reason.allCases {
            result[reason] = Count(
                documents: join(left[reason].documents, right[reason].documents),
                tokens: join(left[reason].tokens, right[reason].tokens))
        }
        return result
    }

    /// Only the reasons that there were.
    public var json: JSON {
        var object = JSONObject()
        if empty > 0 { object["empty"] = ["documents": .integer(empty)] }
        for reason in Reason.allCases where self[reason].documents > 0 {
            object[reason.rawValue] = [
                "documents": .integer(self[reason].documents), "tokens": .integer(self[reason].tokens),
            ]
        }
        return .object(object)
    }

    /// - Returns: nil when a count is missing, negative or so large that sums over shards could leave 63 bits.
    init?(_ json: JSON) {
        guard json.objectValue != nil else { return nil }
        func count(_ json: JSON?) -> Int? { json?.intValue.flatMap { (0..<1 << 53).contains($0) ? $0 : nil } }
        if let stated = json["empty"] {
            guard let documents = count(stated["documents"]) else { return nil }
            empty = documents
        }
        for reason in Reason.allCases {
            guard let stated = json[reason.rawValue] else { continue }
            guard let documents = count(stated["documents"]), let tokens = count(stated["tokens"]) else { return nil }
            self[reason] = Count(documents: documents, tokens: tokens)
        }
    }
}
