// The same object a hundred thousand times over: a manifest has one a shard, written by a program, with the same keys in the
// same order. It is read without a tree, a string or a key being made; anything that looks in the least different is left to
// the reader that takes every JSON, and that has the complaints.

/// A member of an object that `JSONReader.plainObject` has read.
public enum PlainValue: Sendable {
    case number(Int)
    /// Printable ASCII, as it is written.
    case text(ArraySlice<UInt8>)
}

extension JSONReader {
    /// Reads an object that has exactly `keys`, in that order, each with a string of printable ASCII without escapes or a
    /// whole number from 0 of at most 18 digits, and that `accept` agrees to.
    /// - Returns: whether it was read; if not, the reader stands before the value as it did.
    public mutating func plainObject(
        _ keys: [[UInt8]], accept: ([PlainValue]) -> Bool
    ) throws(Fault) -> Bool {
        guard try nextToken() == UInt8(ascii: "{"), hasRoom else { return false }
        // It must lie in the buffer whole.
        if available < 4096 { _ = try fill() }
        var scanner = PlainScanner(position: position)
        // SAFETY: the scanner looks at no byte behind the end of the buffer, which lives for the call.
        let values: [PlainValue]? = unsafe buffer.withUnsafeBufferPointer { bytes in
            unsafe scanner.object(keys, in: bytes).map { fields in
                fields.map { field in
                    switch field {
                    case .number(let value): .number(value)
                    case .text(let range): .text(buffer[range])
                    }
                }
            }
        }
        guard let values, accept(values) else { return false }
        pass(to: scanner.position, lines: scanner.lines)
        return true
    }
}

private struct PlainScanner {
    enum Field {
        case number(Int)
        case text(Range<Int>)
    }

    var position: Int
    var lines = 0

    /// nil when what stands there is not so plain, or the buffer ends before it does.
    mutating func object(_ keys: [[UInt8]], in bytes: UnsafeBufferPointer<UInt8>) -> [Field]? {
        var fields: [Field] = []
        fields.reserveCapacity(keys.count)
        position += 1
        for (number, key) in keys.enumerated() {
            if number > 0 { guard unsafe next(in: bytes) == UInt8(ascii: ",") else { return nil } }
            guard unsafe next(in: bytes) == UInt8(ascii: "\""), let range = unsafe text(in: bytes),
                range.count == key.count
            else { return nil }
            for index in 0..<key.count { if unsafe bytes[range.lowerBound + index] != key[index] { return nil } }
            guard unsafe next(in: bytes) == UInt8(ascii: ":") else { return nil }
            guard let byte = unsafe next(in: bytes) else { return nil }
            if byte == UInt8(ascii: "\"") {
                guard let range = unsafe text(in: bytes) else { return nil }
                fields.append(.text(range))
            } else {
                position -= 1
                guard let value = unsafe wholeNumber(in: bytes) else { return nil }
                fields.append(.number(value))
            }
        }
        return unsafe next(in: bytes) == UInt8(ascii: "}") ? fields : nil
    }

    /// The next byte that is not white space, which is passed.
    private mutating func next(in bytes: UnsafeBufferPointer<UInt8>) -> UInt8? {
        while position < bytes.count {
            let byte = unsafe bytes[position]
            position += 1
            switch byte {
            case 0x0a: lines += 1
            case 0x20, 0x09, 0x0d: break
            default: return byte
            }
        }
        return nil
    }

    /// What stands before the closing quote, which is passed.
    private mutating func text(in bytes: UnsafeBufferPointer<UInt8>) -> Range<Int>? {
        let first = position
        while position < bytes.count {
            let byte = unsafe bytes[position]
            if byte == UInt8(ascii: "\"") {
                position += 1
                return first..<position - 1
            }
            if byte == UInt8(ascii: "\\") || byte < 0x20 || byte > 0x7e { return nil }
            position += 1
        }
        return nil
    }

    /// Of at most 18 digits, which need no look-out for an overflow; the strict parser reads the rest.
    private mutating func wholeNumber(in bytes: UnsafeBufferPointer<UInt8>) -> Int? {
        let first = position
        var value = 0
        while position < bytes.count, position - first < 18 {
            let digit = unsafe bytes[position] &- 0x30
            if digit > 9 { break }
            value = value * 10 + Int(digit)
            position += 1
        }
        guard position > first, position < bytes.count else { return nil }
        if unsafe bytes[first] == 0x30, position - first > 1 { return nil }
        switch unsafe bytes[position] {
        case UInt8(ascii: ","), UInt8(ascii: "}"), 0x20, 0x09, 0x0a, 0x0d: return value
        default: return nil
        }
    }
}
