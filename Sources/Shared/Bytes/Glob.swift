// Shell-like patterns over names: of parameters, of metrics.

/// A pattern in which `*` stands for any text and `?` for any one character; everything else stands for itself.
public struct Glob: Sendable, Hashable {
    private let pattern: [Character]

    public init(_ pattern: String) { self.pattern = Array(pattern) }

    /// Whether the whole of `text` fits. O(pattern × text) at worst: after a mismatch only the last star is tried again.
    public func matches(_ text: String) -> Bool {
        let text = Array(text)
        var position = 0
        var place = 0
        var star: (place: Int, position: Int)?
        while position < text.count {
            if place < pattern.count, pattern[place] == "*" {
                star = (place, position)
                place += 1
            } else if place < pattern.count, pattern[place] == "?" || pattern[place] == text[position] {
                place += 1
                position += 1
            } else if let last = star {
                star = (last.place, last.position + 1)
                place = last.place + 1
                position = last.position + 1
            } else {
                return false
            }
        }
        return pattern[place...].allSatisfy { $0 == "*" }
    }
}
