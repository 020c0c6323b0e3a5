// Where a text may be cut so that its parts can be encoded at the same time. All patterns (docs/formats/tokenizer.md)
// match letters in runs, and a space, a line feed or punctuation after a letter begins a match of its own: no
// alternative that has matched a letter goes on over it, and none looks back. So a pre-token ends there in any of them,
// whatever stands before or after, and no normal form joins the two characters. Tests hold this against every pattern's
// scanner.

internal import Bytes

enum SafeCut {
    /// The last place in `text` after `start` that lies between a letter and what begins a pre-token; nil when there is
    /// none. Letters are those that can be told by their bytes: ASCII, Cyrillic U+0400 to U+047F, and ideographs U+5000
    /// to U+8FFF.
    static func last(in text: [UInt8], from start: Int) -> Int? {
        var place = text.count - 1
        while place > start {
            if beginsPretoken(text, place) && endsLetter(text, start, place) { return place }
            place -= 1
        }
        return nil
    }

    /// Space or line feed; the ideographic comma and full stop (E3 80 81, 82); the fullwidth comma (EF BC 8C).
    private static func beginsPretoken(_ text: [UInt8], _ place: Int) -> Bool {
        switch text[place] {
        case 0x20, 0x0a: true
        case 0xe3: place + 2 < text.count && text[place + 1] == 0x80 && (0x81...0x82).contains(text[place + 2])
        case 0xef: place + 2 < text.count && text[place + 1] == 0xbc && text[place + 2] == 0x8c
        default: false
        }
    }

    private static func endsLetter(_ text: [UInt8], _ start: Int, _ place: Int) -> Bool {
        let last = text[place - 1]
        if (0x41...0x5a).contains(last) || (0x61...0x7a).contains(last) { return true }
        guard (0x80...0xbf).contains(last) else { return false }
        if place - 2 >= start, (0xd0...0xd1).contains(text[place - 2]) { return true }
        return place - 3 >= start && (0x80...0xbf).contains(text[place - 2]) && (0xe5...0xe8).contains(text[place - 3])
    }
}
