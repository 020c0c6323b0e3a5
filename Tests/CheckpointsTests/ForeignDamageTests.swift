// Foreign files that lie: each is refused in one line, nothing traps, nothing large is allocated.

import Bytes
import Checkpoints
import SystemPackage
import Testing

@Suite struct ForeignDamageTests {
    private func file(_ format: ForeignFormat, _ scratch: Scratch) throws -> [UInt8] {
        let source = scratch.path.appending("source-\(format.rawValue)")
        if format == .llmC { try writeGPT2(to: source) } else { try writeLlama(to: source, tokenizer: true) }
        let path = scratch.path.appending("file-\(format.rawValue)")
        _ = try ForeignModel(source).write(to: path, as: format)
        return try scratch.read(path)
    }

    @Test(arguments: [ForeignFormat.gguf, .npz, .llmC])
    func everyTruncationIsRefused(_ format: ForeignFormat) throws {
        let scratch = try Scratch()
        let bytes = try file(format, scratch)
        let path = scratch.path.appending("damaged")
        for count in 0..<bytes.count {
            // GGUF's last tensor is followed by padding that nobody needs.
            if format == .gguf, bytes[count...].allSatisfy({ $0 == 0 }), bytes.count - count < 32 { continue }
            try scratch.write(Array(bytes[..<count]), to: path)
            #expect(throws: Fault.self, "\(count) bytes") { _ = try ForeignModel(path).contents() }
        }
        try scratch.write(bytes + [UInt8](repeating: 7, count: 40), to: path)
        #expect(throws: Fault.self) { _ = try ForeignModel(path) }
    }

    @Test(arguments: [ForeignFormat.gguf, .npz, .llmC])
    func noFlipOfAByteTraps(_ format: ForeignFormat) throws {
        let scratch = try Scratch()
        let bytes = try file(format, scratch)
        let path = scratch.path.appending("damaged")
        var refused = 0
        for place in 0..<min(bytes.count, 3000) {
            for flip: UInt8 in [1, 0x80, 0xff] {
                var damaged = bytes
                damaged[place] ^= flip
                try scratch.write(damaged, to: path)
                do {
                    let model = try ForeignModel(path)
                    _ = try model.contents()
                    // Writing flushes to the disk, which takes its time.
                    if place % 32 != 0 { continue }
                    _ = try model.write(to: scratch.path.appending("out"), as: .npz)
                } catch is Fault { refused += 1 }
                try? FileSystem.remove(scratch.path.appending("out"))
            }
        }
        #expect(refused > 50)
    }

    @Test func aFlipInAnArrayIsFoundByItsChecksum() throws {
        let scratch = try Scratch()
        var bytes = try file(.npz, scratch)
        let path = scratch.path.appending("damaged")
        // The first member's data begin at a multiple of 64 behind its name; far inside it is a number.
        bytes[240] ^= 1
        try scratch.write(bytes, to: path)
        #expect(message { _ = try ForeignModel(path).contents() }.contains("crc32 differs: expected "))
    }

    // MARK: compressed archives

    @Test func whatIsCompressedReadsTheSame() throws {
        let scratch = try Scratch()
        let corpus = FilePath(#filePath).removingLastComponent().removingLastComponent().appending("fuzz/corpus/npz")
        let whole = try ForeignModel(corpus.appending("valid-gpt2"))
        let compressed = corpus.appending("valid-compressed")
        let expected = try whole.contents()
        #expect(try ForeignModel(compressed).contents() == expected)
        // In the other order too: views read a member from its middle.
        for tensor in try ForeignModel(compressed).tensors.reversed() where tensor.shape.count == 2 {
            let original = try #require(whole[tensor.name])
            #expect(try TensorDifference.of(tensor, original).hasEqualBits)
        }
        // Whatever is flipped is refused, or was none of the content.
        let bytes = try scratch.read(compressed)
        let path = scratch.path.appending("damaged")
        var refused = 0
        for place in stride(from: 0, to: bytes.count, by: 3) {
            var damaged = bytes
            damaged[place] ^= 1 << (place % 8)
            try scratch.write(damaged, to: path)
            do { _ = try ForeignModel(path).contents() } catch is Fault { refused += 1 }
        }
        #expect(refused > bytes.count / 6)
        for count in stride(from: 0, to: bytes.count, by: 7) {
            try scratch.write(Array(bytes[..<count]), to: path)
            #expect(throws: Fault.self, "\(count) bytes") { _ = try ForeignModel(path).contents() }
        }
    }

    /// An archive of one member of `size` bytes of content, as its directory says, that `stored` bytes decode to.
    private func archive(size: UInt32, _ stored: [UInt8], method: UInt16 = 8) -> [UInt8] {
        let name = Array("a.npy".utf8)
        func fields(_ bytes: inout [UInt8]) {
            bytes.append(littleEndian: method)
            bytes.append(littleEndian: UInt32(0))
            bytes.append(littleEndian: UInt32(0))
            bytes.append(littleEndian: UInt32(stored.count))
            bytes.append(littleEndian: size)
            bytes.append(littleEndian: UInt16(name.count))
            bytes.append(littleEndian: UInt16(0))
        }
        var bytes: [UInt8] = [0x50, 0x4b, 3, 4, 20, 0, 0, 0]
        fields(&bytes)
        bytes += name + stored
        let start = bytes.count
        bytes += [0x50, 0x4b, 1, 2, 20, 0, 20, 0, 0, 0]
        fields(&bytes)
        bytes += [UInt8](repeating: 0, count: 14) + name
        let length = bytes.count - start
        bytes += [0x50, 0x4b, 5, 6, 0, 0, 0, 0, 1, 0, 1, 0]
        bytes.append(littleEndian: UInt32(length))
        bytes.append(littleEndian: UInt32(start))
        return bytes + [0, 0]
    }

    @Test func compressedMembersThatLie() throws {
        // Four stored bytes, in a block of its own.
        let four: [UInt8] = [1, 4, 0, 0xfb, 0xff, 1, 2, 3, 4]
        #expect(
            try refusal(archive(size: 1 << 30, four))
                == "'F' at byte 44: member 'a.npy' has \(1 << 30) bytes, 9 of them stored")
        #expect(
            try refusal(archive(size: 5, four)) == "'F' at byte 35: member 'a.npy' does not have the 5 bytes it should")
        #expect(
            try refusal(archive(size: 4, Array(four.dropLast())))
                == "'F' at byte 43: deflate: the compressed bytes end too early")
        #expect(try refusal(archive(size: 4, [7] + four)) == "'F' at byte 36: deflate: invalid block type")
        #expect(
            try refusal(archive(size: 4, four, method: 12))
                == "'F' at byte 44: member 'a.npy' is compressed by method 12, expected 0 (stored) or 8 (deflated)")
    }

    // MARK: GGUF

    /// A GGUF file from its parts; tensors are given as they stand in the file.
    private func gguf(
        version: UInt32 = 3, tensors: UInt64 = 0, pairs: UInt64 = 0, _ body: (inout [UInt8]) -> Void = { _ in }
    ) -> [UInt8] {
        var bytes = Array("GGUF".utf8)
        bytes.append(littleEndian: version)
        bytes.append(littleEndian: tensors)
        bytes.append(littleEndian: pairs)
        body(&bytes)
        return bytes
    }

    private func refusal(_ bytes: [UInt8]) throws -> String {
        let scratch = try Scratch()
        let path = scratch.path.appending("m.gguf")
        try scratch.write(bytes, to: path)
        return message { _ = try ForeignModel(path) }.replacingPath(path.string)
    }

    @Test func ggufHeadsThatLie() throws {
        #expect(try refusal(gguf(version: 1)) == "'F' at byte 4: expected version 2 or 3, found 1")
        #expect(try refusal(gguf(version: 4)) == "'F' at byte 4: expected version 2 or 3, found 4")
        #expect(try refusal(gguf(tensors: 1 << 60)) == "'F' at byte 8: \(1 << 60) tensors, more than 65536")
        #expect(try refusal(gguf(pairs: 9)) == "'F' at byte 24: 9 pairs of metadata do not fit the file of 24 bytes")
        #expect(try refusal(gguf()) == "'F': 'general.architecture' is missing in its metadata")
    }

    @Test func ggufMetadataThatLies() throws {
        func pair(_ key: String, _ type: UInt32, _ value: @escaping (inout [UInt8]) -> Void) -> (inout [UInt8]) -> Void
        {
            { bytes in
                bytes.append(littleEndian: UInt64(key.utf8.count))
                bytes += Array(key.utf8)
                bytes.append(littleEndian: type)
                value(&bytes)
            }
        }
        let longString = pair("a", 8) { $0.append(littleEndian: UInt64(1) << 40) }
        #expect(try refusal(gguf(pairs: 1, longString)) == "'F' at byte 37: a string of \(1 << 40) bytes")
        let pastEnd = pair("a", 8) { $0.append(littleEndian: UInt64(100)) }
        #expect(
            try refusal(gguf(pairs: 1, pastEnd))
                == "'F' at byte 45: 100 bytes of a string do not fit the file of 45 bytes")
        let nested = pair("a", 9) { $0.append(littleEndian: UInt32(9)) }
        #expect(try refusal(gguf(pairs: 1, nested)) == "'F' at byte 37: an array of arrays")
        let longArray = pair("a", 9) {
            $0.append(littleEndian: UInt32(4))
            $0.append(littleEndian: UInt64(1) << 29)
        }
        #expect(
            try refusal(gguf(pairs: 1, longArray))
                == "'F' at byte 49: \(1 << 29) values of an array do not fit the file of 49 bytes")
        let unknown = pair("a", 13) { _ in }
        #expect(try refusal(gguf(pairs: 1, unknown)) == "'F' at byte 37: unknown type 13 of a value")
        let empty = pair("", 7) { $0.append(1) }
        #expect(try refusal(gguf(pairs: 1, empty)) == "'F' at byte 24: an empty key")
        let flag = pair("a", 7) { $0.append(1) }
        #expect(
            try refusal(
                gguf(pairs: 2) {
                    flag(&$0)
                    flag(&$0)
                }) == "'F' at byte 38: key 'a' is there twice")
        let notText = pair("a", 8) {
            $0.append(littleEndian: UInt64(1))
            $0.append(0xff)
        }
        #expect(try refusal(gguf(pairs: 1, notText)) == "'F' at byte 37: a string is not UTF-8")
        let alignment = pair("general.alignment", 4) { $0.append(littleEndian: UInt32(24)) }
        #expect(try refusal(gguf(pairs: 1, alignment)).contains("expected a u32 that is a power of two"))
    }

    @Test func ggufTensorsThatLie() throws {
        func tensor(
            _ name: String = "t", _ dimensions: [UInt64] = [2], type: UInt32 = 0, offset: UInt64 = 0
        ) -> (inout [UInt8]) -> Void {
            { bytes in
                bytes.append(littleEndian: UInt64(name.utf8.count))
                bytes += Array(name.utf8)
                bytes.append(littleEndian: UInt32(dimensions.count))
                for dimension in dimensions { bytes.append(littleEndian: dimension) }
                bytes.append(littleEndian: type)
                bytes.append(littleEndian: offset)
            }
        }
        let long = String(repeating: "n", count: 64)
        #expect(try refusal(gguf(tensors: 1, tensor(long))).hasSuffix("a name of 64 bytes, expected 1 to 63"))
        #expect(try refusal(gguf(tensors: 1, tensor("t", [1, 1, 1, 1, 1]))).hasSuffix("has 5 dimensions, more than 4"))
        // Wraps to 4 in 64 bits.
        let wrapping: [UInt64] = [211_106_198_978_564, 4_194_305, 4_194_305]
        #expect(try refusal(gguf(tensors: 1, tensor("t", wrapping))).hasSuffix("leaves 63 bits"))
        #expect(try refusal(gguf(tensors: 1, tensor("t", [1 << 63]))).hasSuffix("has a dimension that leaves 63 bits"))
        #expect(try refusal(gguf(tensors: 1, tensor(type: 12))).contains("has type 12, expected 0 (F32)"))
        #expect(
            try refusal(gguf(tensors: 1, tensor("t", [33], type: 8))).hasSuffix("rows of Q8_0 are a multiple of 32"))
        #expect(try refusal(gguf(tensors: 1, tensor("t", [1 << 40]))).contains("expected tensors from byte 64"))
        func padded(_ body: @escaping (inout [UInt8]) -> Void, _ tensors: UInt64, data: Int) -> [UInt8] {
            var bytes = gguf(tensors: tensors, body)
            while bytes.count % 32 != 0 { bytes.append(0) }
            return bytes + [UInt8](repeating: 0, count: data)
        }
        #expect(try refusal(padded(tensor("t", [1 << 40]), 1, data: 32)).hasSuffix("found 32: the file is truncated"))
        #expect(try refusal(padded(tensor(offset: 32), 1, data: 64)).contains("expected offset 0, found 32"))
        #expect(
            try refusal(padded(tensor(), 1, data: 33)).contains("expected the end of the file after the last tensor"))
        let twice: (inout [UInt8]) -> Void = {
            tensor()(&$0)
            tensor(offset: 32)(&$0)
        }
        #expect(try refusal(padded(twice, 2, data: 64)).hasSuffix("tensor 't' is there twice"))
    }

    // MARK: llm.c

    @Test func llmCHeadsThatLie() throws {
        let scratch = try Scratch()
        let bytes = try file(.llmC, scratch)
        let path = scratch.path.appending("damaged.bin")
        for (index, value, reason) in [
            (1, Int32(4), "at byte 4: expected version 3 (fp32) or 5 (bf16), found 4"),
            (4, -1, "at byte 16: num_layers is -1, expected 1 to 4096"),
            (5, 3, "at byte 20: num_heads is 3, expected a divisor of channels 4"),
            (6, .max, "at byte 24: channels is 2147483647, expected 1 to 131072"),
            (7, 4, "at byte 28: padded_vocab_size is 4, less than vocab_size 5"),
            (2, 4, "expected a file of \(bytes.count + 16) bytes, found \(bytes.count)"),
        ] {
            let damaged = Array(bytes[..<(4 * index)]) + [value].littleEndianBytes + Array(bytes[(4 * index + 4)...])
            try scratch.write(damaged, to: path)
            let text = message { _ = try ForeignModel(path) }
            #expect(text.hasSuffix(reason), "\(text)")
        }
    }
}

extension String {
    /// With `'F'` in place of the quoted path.
    fileprivate func replacingPath(_ path: String) -> String {
        hasPrefix("'\(path)'") ? "'F'" + dropFirst(path.count + 2) : self
    }
}
