// Frames of zstd: checked, sized, and never larger than the caller allows.

import Bytes
import CZstd
import Testing

/// A frame as another program would write it: without a checksum when it is not asked for one.
private func foreignFrame(_ bytes: [UInt8], checksum: Bool) -> [UInt8] {
    let context = unsafe ZSTD_createCCtx()
    defer { unsafe ZSTD_freeCCtx(context) }
    unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, checksum ? 1 : 0)
    var frame = [UInt8](repeating: 0, count: ZSTD_compressBound(bytes.count))
    let count = unsafe frame.withUnsafeMutableBytes { target in
        unsafe bytes.withUnsafeBytes { source in
            unsafe ZSTD_compress2(context, target.baseAddress, target.count, source.baseAddress, source.count)
        }
    }
    return Array(frame.prefix(count))
}

@Suite struct ZstdTests {
    private func failure(_ frame: [UInt8], _ count: Int) -> String {
        do {
            _ = try ZstdDecompressor().decode(frame[...], count: count)
            return "none"
        } catch { return "\(error)" }
    }

    @Test(arguments: [0, 1, 255, 256, 65_791, 262_144]) func comesBack(_ count: Int) throws {
        var noise = Noise(UInt64(count))
        let bytes = noise.bytes(count).map { $0 & 15 }
        let frame = ZstdCompressor(level: 3).frame(of: bytes)
        #expect(try ZstdDecompressor().decode(frame[...], count: count) == bytes)
        // Inside a larger array, as in a shard.
        let shard = [1, 2, 3] + frame + [4]
        #expect(try ZstdDecompressor().decode(shard[3..<3 + frame.count], count: count) == bytes)
    }

    @Test func theSameBytesGiveTheSameFrameWhateverCameBefore() {
        let compressor = ZstdCompressor(level: 3)
        let bytes = Array(String(repeating: "the same bytes ", count: 999).utf8)
        let first = compressor.frame(of: bytes)
        _ = compressor.frame(of: [1, 2, 3])
        #expect(compressor.frame(of: bytes) == first && ZstdCompressor(level: 3).frame(of: bytes) == first)
    }

    @Test func aFrameWithoutAChecksumIsRefused() {
        let bytes = [UInt8](repeating: 5, count: 1000)
        #expect(failure(foreignFrame(bytes, checksum: true), 1000) == "none")
        #expect(failure(foreignFrame(bytes, checksum: false), 1000) == "zstd frame without a checksum")
    }

    @Test func theSizeMustBeTheOneDeclared() {
        let frame = ZstdCompressor(level: 3).frame(of: [UInt8](repeating: 5, count: 1000))
        #expect(failure(frame, 1001) == "expected 1001 bytes of content, found 1000")
        #expect(failure(frame, 999) != "none" && failure(frame, 0) != "none")
        #expect(failure(frame + [0], 1000) != "none", "bytes after the frame")
        #expect(failure(frame + frame, 2000) == "none" || failure(frame + frame, 1000) != "none")
    }

    @Test func aBombIsCappedAtTheDeclaredSize() {
        let bomb = ZstdCompressor(level: 3).frame(of: [UInt8](repeating: 0, count: 64 << 20))
        #expect(bomb.count < 64 << 10)
        let before = Host.peakResidentBytes
        #expect(failure(bomb, 1 << 10) != "none")
        #expect(Host.peakResidentBytes - before < 16 << 20)
    }

    @Test func everyTruncationAndEveryBitFlipIsNoticed() {
        var noise = Noise(3)
        let bytes = noise.bytes(300).map { $0 & 7 }
        let frame = ZstdCompressor(level: 3).frame(of: bytes)
        for count in 0..<frame.count { #expect(failure(Array(frame.prefix(count)), 300) != "none", "\(count) bytes") }
        var unnoticed: [String] = []
        for index in frame.indices {
            for bit in 0..<8 {
                var flipped = frame
                flipped[index] ^= 1 << bit
                // A flip that decodes to the right bytes all the same does no harm (an unused bit of the header).
                if let content = try? ZstdDecompressor().decode(flipped[...], count: 300), content != bytes {
                    unnoticed.append("byte \(index) bit \(bit)")
                }
            }
        }
        #expect(unnoticed.isEmpty)
    }

    @Test func whatIsNoFrameIsRefused() {
        #expect(failure([], 0) == "not a zstd frame")
        #expect(failure([0x28, 0xb5, 0x2f, 0xfd], 0) == "not a zstd frame")
        #expect(failure(Array("plain text".utf8), 10) == "not a zstd frame")
        #expect(failure([0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0], 0) == "not a zstd frame", "a skippable frame")
    }

    @Test func hugeWindowsAreRefused() {
        // Descriptor: checksum, no single segment, no content size; window descriptor 31 << 3 is 2^41 bytes.
        #expect(failure([0x28, 0xb5, 0x2f, 0xfd, 0x04, 0xf8, 1, 0, 0, 0, 0, 0, 0], 0) != "none")
    }
}
