// Text as bytes, for files that are written a hundred thousand lines at a time: a string for each would be most of the work.

extension [UInt8] {
    public mutating func append(_ text: String) { append(contentsOf: text.utf8) }

    /// In decimal digits.
    public mutating func append(decimal value: Int) {
        if value < 0 { return append(String(value)) }
        let first = count
        var rest = value
        repeat {
            append(UInt8(truncatingIfNeeded: rest % 10) + 0x30)
            rest /= 10
        } while rest > 0
        var (low, high) = (first, count - 1)
        while low < high {
            swapAt(low, high)
            low += 1
            high -= 1
        }
    }

    /// Two lower-case digits a byte.
    public mutating func append(hexadecimal bytes: ArraySlice<UInt8>) {
        for byte in bytes {
            append([UInt8].hexadecimalDigit(byte >> 4))
            append([UInt8].hexadecimalDigit(byte & 15))
        }
    }

    private static func hexadecimalDigit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 + value : 0x57 + value }

    /// Appends the bytes that lower-case hexadecimal digits mean. False, and nothing is appended, when they are none.
    public mutating func append(parsingHexadecimal digits: ArraySlice<UInt8>) -> Bool {
        func value(_ digit: UInt8) -> UInt8? {
            if digit &- 0x30 < 10 { return digit &- 0x30 }
            return digit &- 0x61 < 6 ? digit &- 0x57 : nil
        }
        let first = count
        var index = digits.startIndex
        while digits.endIndex - index >= 2, let high = value(digits[index]), let low = value(digits[index + 1]) {
            append(high << 4 | low)
            index += 2
        }
        if index == digits.endIndex { return true }
        removeLast(count - first)
        return false
    }
}
