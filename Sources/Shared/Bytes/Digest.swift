// SHA-256 (FIPS 180-4) from swift-crypto, spelled as our manifests spell it: 64 lower-case hexadecimal digits.

private import Crypto

/// A SHA-256 digest.
public struct Digest: Sendable, Hashable, CustomStringConvertible {
    /// 32 bytes.
    public let bytes: [UInt8]

    /// Lower-case hexadecimal, 64 digits.
    public var description: String { hexadecimal(bytes) }

    /// nil unless `text` is 64 lower-case hexadecimal digits.
    public init?(_ text: String) {
        guard let bytes = bytesFromHexadecimal(text), bytes.count == 32 else { return nil }
        self.bytes = bytes
    }

    fileprivate init(bytes: [UInt8]) { self.bytes = bytes }

    /// nil unless there are 32 bytes.
    public init?(rawBytes: ArraySlice<UInt8>) {
        if rawBytes.count != 32 { return nil }
        bytes = Array(rawBytes)
    }

    public static func of(_ bytes: [UInt8]) -> Digest {
        var hasher = DigestHasher()
        hasher.update(bytes)
        return hasher.finish()
    }

    public static func of(_ text: String) -> Digest { of(Array(text.utf8)) }
}

/// A running SHA-256.
public struct DigestHasher: Sendable {
    private var hash = SHA256()

    public init() {}

    public mutating func update(_ bytes: [UInt8]) {
        // SAFETY: the buffer lives for the call, and the hash only reads it.
        unsafe bytes.withUnsafeBytes { unsafe hash.update(bufferPointer: $0) }
    }

    public mutating func update(_ text: String) { update(Array(text.utf8)) }

    public mutating func update(_ bytes: RawSpan) {
        // SAFETY: as above.
        unsafe bytes.withUnsafeBytes { unsafe hash.update(bufferPointer: $0) }
    }

    public func finish() -> Digest {
        // SAFETY: the digest's bytes are copied inside the call.
        unsafe hash.finalize().withUnsafeBytes { unsafe Digest(bytes: [UInt8]($0)) }
    }
}

/// Lower-case hexadecimal, two digits a byte.
public func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    for byte in bytes {
        text.append(digits[Int(byte >> 4)])
        text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
}

/// The inverse of `hexadecimal`; nil for an odd count or anything but lower-case digits.
public func bytesFromHexadecimal(_ text: String) -> [UInt8]? {
    let digits = Array(text.utf8)
    if digits.count % 2 != 0 { return nil }
    func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        default: nil
        }
    }
    var bytes: [UInt8] = []
    for index in stride(from: 0, to: digits.count, by: 2) {
        guard let high = value(digits[index]), let low = value(digits[index + 1]) else { return nil }
        bytes.append(high << 4 | low)
    }
    return bytes
}
