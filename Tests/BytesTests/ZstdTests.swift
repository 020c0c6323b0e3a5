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

struct ZstdStreamTests {
    private let content = (0..<700_000).map { UInt8(truncatingIfNeeded: $0 / 5 ^ $0 >> 9) }

    private func read(_ frames: [UInt8], limit: Int, chunk: Int = .max) throws -> [UInt8] {
        let source = ZstdSource(MemorySource(frames, name: "f", chunk: chunk), limit: limit)
        var bytes: [UInt8] = []
        while true {
            let piece = try source.read(upTo: 50_000)
            if piece.isEmpty { return bytes }
            bytes += piece
        }
    }

    @Test func whatIsWrittenIsRead() throws {
        let memory = MemorySink()
        let sink = ZstdSink(memory, level: 3, size: content.count)
        for start in stride(from: 0, to: content.count, by: 99_999) {
            try sink.write(Array(content[start..<min(start + 99_999, content.count)]))
        }
        try sink.finish()
        #expect(memory.bytes.count < content.count / 2)
        #expect(try read(memory.bytes, limit: content.count, chunk: 1000) == content)
        #expect(try ZstdDecompressor().decode(memory.bytes[...], count: content.count) == content)
        #expect(try read(memory.bytes + memory.bytes, limit: 2 * content.count) == content + content)
        for length in [1, 4, 9, memory.bytes.count / 2, memory.bytes.count - 1] {
            #expect(throws: Fault.self) { try read(Array(memory.bytes[..<length]), limit: content.count) }
        }
        let fault = #expect(throws: Fault.self) { try read(memory.bytes, limit: content.count - 1) }
        #expect(fault?.message.hasSuffix("expected \(content.count - 1) bytes of content, found more") == true)
    }

    /// A gigabyte of zeros in 32 kB, and a frame that asks for a window of 2 GiB.
    @Test func bombsAreDefused() throws {
        let memory = MemorySink()
        let sink = ZstdSink(memory, level: 3, size: 1 << 30)
        let zeros = [UInt8](repeating: 0, count: 1 << 20)
        for _ in 0..<1024 { try sink.write(zeros) }
        try sink.finish()
        #expect(memory.bytes.count < 100_000)
        #expect(throws: Fault.self) { try read(memory.bytes, limit: 1 << 20) }
        // Magic, descriptor (no single segment, no sizes), window descriptor (exponent 21: 2^31), an empty last block.
        let window: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd, 0, 21 << 3, 1, 0, 0]
        let fault = #expect(throws: Fault.self) { try read(window, limit: 100) }
        #expect(fault?.message.contains("zstd: Frame requires too much memory") == true, "\(fault?.message ?? "")")
        #expect(try read([0x28, 0xb5, 0x2f, 0xfd, 0, 17 << 3, 1, 0, 0], limit: 100) == [])
    }
}
