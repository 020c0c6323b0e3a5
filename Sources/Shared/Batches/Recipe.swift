// Everything that fixes which rows exist and in which order they come. Two runs with the same recipe see the same rows;
// a cursor carries the recipe's fingerprint, so that it is never followed into a different order. Rows a batch, epochs,
// limits and threads are not part of it: they cut the sequence, they do not change it.

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

    public init(
        length: Int, seed: UInt64 = 0, order: Order = .window, packing: Packing = .bestFit, crossDocument: Bool = false
    ) {
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
        let text =
            "millrace order \(Recipe.version) length \(length) seed \(seed) order \(order.rawValue) "
            + "packing \(packing.rawValue) cross-document \(crossDocument) window \(Recipe.windowTokens)"
        return String(Digest.of(text).description.prefix(8))
    }

    /// Why `cursor` belongs to another recipe, or nil when it belongs to this one.
    func mismatch(with cursor: Cursor, dataset: Digest) -> Fault? {
        if cursor.recipe == fingerprint(dataset: dataset) { return nil }
        var differences: [String] = []
        if cursor.recipe.prefix(8) != dataset.description.prefix(8) {
            differences.append(
                "the dataset differs (cursor \(cursor.recipe.prefix(8))…, here \(dataset.description.prefix(8))…)")
        }
        if cursor.recipe.suffix(8) != settings {
            differences.append(settingsDifference(String(cursor.recipe.suffix(8))))
        }
        return Fault(
            .usage, "the cursor belongs to another run: " + differences.joined(separator: "; "),
            hint: "give the dataset and options that the run began with; only --rows, --epochs and --limit may change")
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
            ?? find((1...8192).lazy.map { length in changed { $0.length = length } }) {
                "--length is \($0.length) in the cursor, \(length) here"
            }
            ?? find((0...8192).lazy.map { seed in changed { $0.seed = seed } }) {
                "--seed is \($0.seed) in the cursor, \(seed) here"
            }
            ?? "more than one of --length, --seed, --order, --pack and --cross-document differs"
    }
}
