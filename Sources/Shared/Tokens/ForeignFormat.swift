// The token formats of other programs, by the names that `tok-shard import` and `export` know them by
// (docs/formats/foreign-tokens.md).

/// A foreign token format.
public enum ForeignFormat: String, Sendable, CaseIterable {
    case llmc, nanogpt, megatron, datatrove, mds, npy, jsonl, text

    /// How an ingest reads it; nil for text, which has no ids.
    public var documentFormat: DocumentFormat? {
        switch self {
        case .llmc: .llmc
        case .nanogpt: .ids16
        case .megatron: .megatron
        case .datatrove: .datatrove
        case .mds: .mds
        case .npy: .npy
        case .jsonl: .idsJSONLines
        case .text: nil
        }
    }

    /// Whether its bytes are no text.
    public var isBinary: Bool { self != .jsonl && self != .text }

    /// Whether files of it say where documents end.
    var keepsDocuments: Bool { self != .llmc && self != .nanogpt && self != .npy }

    /// Whether it is one file, which can go down a pipe.
    var isOneFile: Bool { self != .megatron && self != .datatrove && self != .mds }

    /// What its files are called behind a number.
    var suffix: String {
        switch self {
        case .llmc, .nanogpt: ".bin"
        case .datatrove: ".ds"
        case .npy: ".npy"
        case .jsonl: ".jsonl"
        case .text: ".txt"
        case .megatron, .mds: ""
        }
    }
}
