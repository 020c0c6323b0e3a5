// Rank files of tiktoken: a token a line, base64 of its bytes, a space, its rank, which is its id. Ranks need not be
// dense (p50k's are not).

internal import Bytes

enum RankFile {
    /// - Throws: `Fault` (bad data) naming the line.
    static func parse(
        _ content: [UInt8], file: String
    ) throws(Fault) -> (tokens: [(bytes: [UInt8], id: UInt32)], size: Int) {
        var tokens: [(bytes: [UInt8], id: UInt32)] = []
        var seen = Set<[UInt8]>()
        var line = 0
        var start = 0
        var highest = 0
        while start < content.count {
            line += 1
            let newline = content.firstIndex(of: 0x0a, from: start) ?? content.count
            var end = newline
            if end > start && content[end - 1] == 0x0d { end -= 1 }
            defer { start = newline + 1 }
            if end == start { continue }
            func fault(_ reason: String) -> Fault {
                Fault(
                    .badData, "\(quoted(file)), line \(line): \(reason)",
                    hint: "a rank file has lines of base64 and a rank")
            }
            guard let space = content[start..<end].firstIndex(of: 0x20) else {
                throw fault("expected base64, a space and a rank")
            }
            guard let bytes = base64(content[start..<space]) else { throw fault("not base64") }
            var rank = 0
            let digits = content[(space + 1)..<end]
            if digits.isEmpty || digits.count > 9 || !digits.allSatisfy({ (0x30...0x39).contains($0) }) {
                throw fault("expected a rank below \(BytePairVocabulary.idLimit)")
            }
            for digit in digits { rank = rank * 10 + Int(digit - 0x30) }
            if rank >= BytePairVocabulary.idLimit {
                throw fault("rank \(rank) is not below \(BytePairVocabulary.idLimit)")
            }
            if bytes.isEmpty { throw fault("the token is empty") }
            if !seen.insert(bytes).inserted { throw fault("the token was there before") }
            highest = max(highest, rank)
            tokens.append((bytes, UInt32(rank)))
        }
        if tokens.isEmpty { throw .badData(file, "expected ranks, found none") }
        return (tokens, highest + 1)
    }

    /// RFC 4648 with its padding; nil when the text is no base64.
    static func base64(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        if text.count % 4 != 0 { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count / 4 * 3)
        var word: UInt32 = 0
        var count = 0
        var padding = 0
        for byte in text {
            let value: UInt8
            switch byte {
            case 0x41...0x5a: value = byte - 0x41
            case 0x61...0x7a: value = byte - 0x61 + 26
            case 0x30...0x39: value = byte - 0x30 + 52
            case 0x2b: value = 62
            case 0x2f: value = 63
            case 0x3d:
                value = 0
                padding += 1
            default: return nil
            }
            if padding > 0 && byte != 0x3d { return nil }
            word = word << 6 | UInt32(value)
            count += 1
            if count % 4 == 0 {
                bytes.append(UInt8(truncatingIfNeeded: word >> 16))
                bytes.append(UInt8(truncatingIfNeeded: word >> 8))
                bytes.append(UInt8(truncatingIfNeeded: word))
                word = 0
            }
        }
        if padding > 2 { return nil }
        bytes.removeLast(padding)
        return bytes
    }
}
