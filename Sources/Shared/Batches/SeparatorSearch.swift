// Whether a document's separator stands before a place in it. Only a document that began before the block under way has
// to be looked into, and what was found in it is remembered: its other blocks will ask again.

internal import Bytes
internal import Tokens

/// Finds the first separator of documents that are longer than a block.
final class SeparatorSearch: Sendable {
    let separator: UInt32

    private struct Document: Hashable, Sendable {
        var shard: Int
        var start: Int
    }
    /// Up to where a document is known to have none, and where it has one.
    private struct Finding: Sendable {
        var searched: Int
        var found: Int?
    }

    private let findings = Monitor(RecentValues<Document, Finding>(capacity: 4096))

    init(_ separator: UInt32) { self.separator = separator }

    /// Whether the document of shard `index` that begins at `start` has a separator before `position`.
    func isFound(
        shard index: Int, _ shard: Shard, from start: Int, before position: Int, using decompressor: ZstdDecompressor
    ) throws(Fault) -> Bool {
        let document = Document(shard: index, start: start)
        var finding = findings.update { $0[document] } ?? Finding(searched: start, found: nil)
        let perFrame = shard.type.tokensPerFrame
        while finding.found == nil, finding.searched < position {
            let frame = finding.searched / perFrame
            let base = shard.tokenOffset(ofFrame: frame)
            let ids = try shard.tokens(inFrame: frame, using: decompressor)
            let end = min(ids.count, position - base)
            finding.found = ids[(finding.searched - base)..<end].firstIndex(of: separator).map { base + $0 }
            finding.searched = base + end
        }
        let result = finding
        findings.update { $0.insert(result, for: document, cost: 1) }
        return finding.found.map { $0 < position } ?? false
    }
}
