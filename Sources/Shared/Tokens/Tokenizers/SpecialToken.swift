// Tokens that stand outside the merges: markers such as <|endoftext|>, and words that a file adds to its vocabulary.

internal import Bytes

/// A token that is found in text before anything else is done with it.
public struct SpecialToken: Sendable, Hashable {
    public var id: Int
    /// What it reads like.
    public var content: [UInt8]
    /// A marker, which is text unless special tokens are allowed; otherwise a word that is always found.
    public var isSpecial: Bool
    /// Why this release cannot look for it in text; nil when it can.
    var obstacle: String?

    public init(id: Int, content: [UInt8], isSpecial: Bool = true) {
        self.id = id
        self.content = content
        self.isSpecial = isSpecial
    }

    public var name: String { String(decoding: content, as: UTF8.self) }
}

/// Finds tokens in text: the leftmost, of those the longest.
struct SpecialTokenMatcher: Sendable {
    private let tokens: [SpecialToken]
    /// Indexes of tokens by their first byte, the longest first.
    private let byFirstByte: [[Int]]
    /// The byte that all begin with, if there is one: it is found faster than any of several.
    private let onlyFirstByte: UInt8?

    /// nil when there is nothing to look for.
    init?(_ tokens: [SpecialToken]) {
        let tokens = tokens.filter { !$0.content.isEmpty }
        if tokens.isEmpty { return nil }
        self.tokens = tokens
        var table = [[Int]](repeating: [], count: 256)
        for (index, token) in tokens.enumerated() { table[Int(token.content[0])].append(index) }
        for byte in 0..<256 { table[byte].sort { tokens[$0].content.count > tokens[$1].content.count } }
        byFirstByte = table
        let first = tokens[0].content[0]
        onlyFirstByte = tokens.allSatisfy { $0.content[0] == first } ? first : nil
    }

    /// A token and where it stands, or how far the text is certain to hold none.
    enum Finding {
        case token(SpecialToken, Range<Int>)
        case none(upTo: Int)
    }

    /// - Parameter isLast: whether the text ends here; otherwise a token may be cut short by its end.
    func find(in text: [UInt8], from start: Int, isLast: Bool) -> Finding {
        var position = start
        while position < text.count {
            if let onlyFirstByte {
                guard let next = text.firstIndex(of: onlyFirstByte, from: position) else { break }
                position = next
            }
            defer { position += 1 }
            let candidates = byFirstByte[Int(text[position])]
            if candidates.isEmpty { continue }
            let left = text.count - position
            for index in candidates {
                let content = tokens[index].content
                let length = min(content.count, left)
                if !text[position..<position + length].elementsEqual(content[..<length]) { continue }
                if length == content.count { return .token(tokens[index], position..<position + length) }
                if !isLast { return .none(upTo: position) }
            }
        }
        return .none(upTo: text.count)
    }
}
