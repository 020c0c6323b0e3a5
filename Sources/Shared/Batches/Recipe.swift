// Everything that fixes which rows exist and in which order they come. Two runs with the same recipe see the same rows;
// a cursor carries the recipe's fingerprint, so that it is never followed into a different order. Rows a batch, epochs,
// limits, ranks and threads are not part of it: they cut the sequence, they do not change it. Nor are shares of sources
// and a length that changes on the way: the cursor remembers what they were.

public import Bytes

/// How an epoch is ordered.
public enum Order: String, Sendable, CaseIterable {
    /// Blocks permuted over the epoch, rows permuted inside windows of blocks: bounded memory at full speed.
    case window
    /// Single rows permuted over the whole epoch; each row costs reading its block unless it is remembered.
    case full
    /// As they lie in the dataset.
    case sequential
}

/// How documents become rows.
public enum Packing: String, Sendable, CaseIterable {
    /// Documents fitted whole into rows; those longer than a row are cut into rows and a tail.
    case bestFit = "best-fit"
    /// The shard cut every T tokens, wherever documents end.
    case concat
    /// One document a row, those longer than a row in several.
    case pad
}

/// Which targets count in the loss. In a dataset without an end-of-document id a document's first one never does.
public enum LossMaskRule: Sendable, Equatable {
    case all
    /// Those behind the first separator of their document.
    case after(separator: UInt32)
    /// Those that the dataset's loss mask says; the digest is that of the masks (`TokenSource.maskDigest`).
    case sidecar(Digest)

    /// What HEAD says of it.
    var json: JSON {
        switch self {
        case .all: .null
        case .after(let separator): ["after": .integer(Int(separator))]
        case .sidecar(let digest): ["sidecar": .string(digest.description)]
        }
    }
}

/// The order of rows, as a value.
public struct Recipe: Sendable, Equatable {
    /// T, targets a row.
    public var length: Int
    public var seed: UInt64
    public var order: Order
    public var packing: Packing
    /// Rows are one segment each: attention crosses the borders of documents.
    public var crossDocument: Bool
    public var mask: LossMaskRule
    /// Lanes of a batch (docs/formats/batch-stream.md, Lanes and ranks).
    public var lanes: Int

    public init(
        length: Int, seed: UInt64 = 0, order: Order = .window, packing: Packing = .bestFit, crossDocument: Bool = false,
        mask: LossMaskRule = .all, lanes: Int = 1
    ) {
        self.mask = mask
        self.lanes = lanes
        self.length = length
        self.seed = seed
        self.order = order
        self.packing = packing
        self.crossDocument = crossDocument
    }

    /// Tokens of a window, before rounding to whole blocks: 16 MiB of u16 ids.
    public static let windowTokens = 1 << 23

    /// Changes whenever the same recipe would give other rows or another order of them.
    private static let version = 1

    /// 16 hexadecimal digits: 8 of the dataset digest, 8 of the settings, so that a mismatch can be told apart.
    public func fingerprint(dataset: Digest) -> String {
        String(dataset.description.prefix(8)) + settings
    }

    private var settings: String {
        var text =
            "millrace order \(Recipe.version) length \(length) seed \(seed) order \(order.rawValue) "
            + "packing \(packing.rawValue) cross-document \(crossDocument) window \(Recipe.windowTokens)"
        // Named only where they are used, so that older cursors keep their fingerprints.
        switch mask {
        case .all: break
        case .after(let separator): text += " mask-before \(separator)"
        case .sidecar(let digest): text += " loss-mask \(digest)"
        }
        if lanes > 1 { text += " lanes \(lanes)" }
        return String(Digest.of(text).description.prefix(8))
    }

    /// Why a cursor of recipe `other` belongs to another run, or nil when it belongs to this one.
    /// - Parameter dataset: of the sources that the cursor knows.
    func mismatch(with other: String, dataset: Digest) -> Fault? {
        if other == fingerprint(dataset: dataset) { return nil }
        var differences: [String] = []
        if other.prefix(8) != dataset.description.prefix(8) {
            differences.append(
                "the dataset differs (cursor \(other.prefix(8))…, here \(dataset.description.prefix(8))…)")
        }
        if other.suffix(8) != settings { differences.append(settingsDifference(String(other.suffix(8)))) }
        return Fault(
            .usage, "the cursor belongs to another run: " + differences.joined(separator: "; "),
            hint: "give the datasets and options that the run began with; only --rows, --length, --epochs, --limit, "
                + "--rank, --world and weights may change")
    }

    /// Tries the neighbours of this recipe, one setting changed at a time: usually it is just one.
    private func settingsDifference(_ wanted: String) -> String {
        func find(_ candidates: some Sequence<Recipe>, _ describe: (Recipe) -> String) -> String? {
            candidates.first { $0.settings == wanted }.map(describe)
        }
        func changed(_ change: (inout Recipe) -> Void) -> Recipe {
            var copy = self
            change(&copy)
            return copy
        }
        return find(Order.allCases.map { order in changed { $0.order = order } }) {
            "--order is \($0.order.rawValue) in the cursor, \(order.rawValue) here"
        }
            ?? find(Packing.allCases.map { packing in changed { $0.packing = packing } }) {
                "--pack is \($0.packing.rawValue) in the cursor, \(packing.rawValue) here"
            }
            ?? find([changed { $0.crossDocument.toggle() }]) {
                $0.crossDocument
                    ? "the cursor was made with --cross-document" : "the cursor was made without --cross-document"
            }
            ?? find([changed { $0.mask = .all }]) { _ in "the cursor was made without a loss mask" }
            ?? find((0...10).map { power in changed { $0.lanes = 1 << power } }) {
                "--lanes is \($0.lanes) in the cursor, \(lanes) here"
            }
            ?? find((1...8192).lazy.map { length in changed { $0.length = length } }) {
                "--length is \($0.length) in the cursor, \(length) here"
            }
            ?? find((0...8192).lazy.map { seed in changed { $0.seed = seed } }) {
                "--seed is \($0.seed) in the cursor, \(seed) here"
            }
            ?? "more than one of --length, --seed, --order, --pack, --cross-document, --lanes and the loss mask differs"
    }
}
