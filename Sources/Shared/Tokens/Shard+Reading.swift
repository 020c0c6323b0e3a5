// Tokens and document ends of one frame: one ranged read each, every check on.

public import Bytes

extension Shard {
    /// The ids of frame `k`, little-endian of `type`. The content checksum is verified; ids are not looked at, ranks are.
    /// - Parameter decompressor: one per thread.
    /// - Throws: `Fault` (bad data) naming frame and byte.
    public func content(ofFrame k: Int, using decompressor: ZstdDecompressor) throws(Fault) -> [UInt8] {
        try [UInt8](capacity: byteCount(inFrame: k)) { (output: inout OutputSpan<UInt8>) throws(Fault) in
            try appendContent(ofFrame: k, to: &output, using: decompressor)
        }
    }

    private func byteCount(inFrame k: Int) -> Int { tokenCount(inFrame: k) * type.byteCount }

    private func appendContent(
        ofFrame k: Int, to output: inout OutputSpan<UInt8>, using decompressor: ZstdDecompressor
    ) throws(Fault) {
        let frame = try file.read(at: offsets[k], count: offsets[k + 1] - offsets[k])
        // The seek table and the frame's own last four bytes hold the same checksum of the content.
        guard let stored: UInt32 = frame.littleEndian(at: frame.count - 4) else {
            throw fault(frame: k, "expected a zstd frame, found \(frame.count) bytes")
        }
        if stored != checksums[k] {
            throw Fault(
                .badData,
                "bad checksum in \(quoted(name)), frame \(k) at byte \(offsets[k]): "
                    + "expected \(hexadecimal32(checksums[k])), found \(hexadecimal32(stored))")
        }
        guard let ranks else {
            do {
                return try decompressor.decode(frame[...], count: byteCount(inFrame: k), to: &output)
            } catch {
                throw fault(frame: k, "\(error)")
            }
        }
        let content: [UInt8]
        do {
            content = try decompressor.decode(frame[...], count: Int(rankBytes[k]))
        } catch {
            throw fault(frame: k, "\(error)")
        }
        do throws(RankCoder.Failure) {
            output.append(try ranks.decode(content, count: tokenCount(inFrame: k))[...])
        } catch {
            throw fault(
                frame: k,
                "byte \(error.byte) of its content: rank \(tokenOffset(ofFrame: k) + error.rank) \(error.reason)")
        }
    }

    /// Appends the content of frame `k` as stored, each id below the vocabulary size. `output` must have room for it.
    /// - Throws: `Fault` (bad data) naming frame, byte and token.
    public func appendCheckedContent(
        ofFrame k: Int, to output: inout OutputSpan<UInt8>, using decompressor: ZstdDecompressor
    ) throws(Fault) {
        let first = output.count
        try appendContent(ofFrame: k, to: &output, using: decompressor)
        // A rank below the vocabulary size is that of an id below it.
        if ranks != nil { return }
        let isInRange =
            vocabularySize > (type == .u16 ? 65535 : Int(UInt32.max))
            || Int(output.largest(from: first, width: type.byteCount)) < vocabularySize
        // The slow way knows which one it is.
        if !isInRange { _ = try tokens(inFrame: k, using: decompressor) }
    }

    /// The content of frame `k` as stored, each id below the vocabulary size.
    /// - Throws: `Fault` (bad data) naming frame, byte and token.
    public func checkedContent(ofFrame k: Int, using decompressor: ZstdDecompressor) throws(Fault) -> [UInt8] {
        try [UInt8](capacity: byteCount(inFrame: k)) { (output: inout OutputSpan<UInt8>) throws(Fault) in
            try appendCheckedContent(ofFrame: k, to: &output, using: decompressor)
        }
    }

    /// The ids of frame `k`, each below the vocabulary size. The shard's type must be u16.
    /// - Throws: `Fault` (bad data) naming frame, byte and token.
    public func tokens16(inFrame k: Int, using decompressor: ZstdDecompressor) throws(Fault) -> [UInt16] {
        precondition(type == .u16, "tokens16 of a shard of \(type.rawValue)")
        let tokens = [UInt16](littleEndianBytes: try content(ofFrame: k, using: decompressor)[...])
        if vocabularySize < 65536, maximum(of: tokens) >= UInt16(vocabularySize) {
            throw outOfRange(
                frame: k, at: tokens.firstIndex { $0 >= UInt16(vocabularySize) } ?? 0, tokens.map(UInt32.init))
        }
        return tokens
    }

    /// The ids of frame `k`, each below the vocabulary size, widened to 32 bits whatever the shard's type.
    /// - Throws: `Fault` (bad data) naming frame, byte and token.
    public func tokens(inFrame k: Int, using decompressor: ZstdDecompressor) throws(Fault) -> [UInt32] {
        if type == .u16 { return widened(try tokens16(inFrame: k, using: decompressor)) }
        let tokens = [UInt32](littleEndianBytes: try content(ofFrame: k, using: decompressor)[...])
        if vocabularySize <= UInt32.max, maximum(of: tokens) >= UInt32(vocabularySize) {
            throw outOfRange(frame: k, at: tokens.firstIndex { $0 >= UInt32(vocabularySize) } ?? 0, tokens)
        }
        return tokens
    }

    private func outOfRange(frame k: Int, at index: Int, _ tokens: [UInt32]) -> Fault {
        fault(
            frame: k,
            "token \(tokenOffset(ofFrame: k) + index) is id \(tokens[index]), not below the vocabulary size \(vocabularySize)"
        )
    }

    /// Where documents end inside frame `k`: exclusive ends, as token offsets in the frame (1 … tokens in the frame),
    /// rising. One ranged read; nothing is decompressed.
    /// - Throws: `Fault` (bad data) for a bad checksum or ends that contradict the index.
    public func documentEnds(inFrame k: Int) throws(Fault) -> [UInt32] {
        let count = documentCount(inFrame: k)
        let offset = endsOffset + frames[k].documentsBefore * 4
        let bytes = try file.read(at: offset, count: count * 4)
        let found = CRC32C.checksum(bytes)
        if found != frames[k].endsChecksum {
            throw Fault(
                .badData,
                "bad checksum in \(quoted(name)), document ends of frame \(k) at byte \(offset): "
                    + "expected \(hexadecimal32(frames[k].endsChecksum)), found \(hexadecimal32(found))")
        }
        let ends = [UInt32](littleEndianBytes: bytes[...])
        var previous: UInt32 = 0
        for (index, end) in ends.enumerated() {
            if end <= previous || Int(end) > tokenCount(inFrame: k) {
                throw .badData(
                    name, byte: offset + index * 4,
                    "expected a document end from \(previous + 1) to \(tokenCount(inFrame: k)) in frame \(k), found \(end)"
                )
            }
            previous = end
        }
        // The last end in a frame is where the next frame's document begins, and the shard ends with a document.
        if k + 1 == frameCount {
            if Int(previous) != lastFrameTokens {
                throw .badData(
                    name, byte: offset,
                    "expected the last document to end at token \(lastFrameTokens) of frame \(k), found \(previous)")
            }
        } else if count > 0, tokenOffset(ofFrame: k) + Int(previous) != frames[k + 1].documentStart {
            throw .badData(
                name, byte: offset,
                "expected the last document end of frame \(k) at token "
                    + "\(frames[k + 1].documentStart - tokenOffset(ofFrame: k)), found \(previous)")
        }
        return ends
    }
}

// Concrete types and plain loops, so that the compiler makes vector code of them.

private func maximum(of tokens: [UInt16]) -> UInt16 {
    var result: UInt16 = 0
    for token in tokens { result = max(result, token) }
    return result
}

private func maximum(of tokens: [UInt32]) -> UInt32 {
    var result: UInt32 = 0
    for token in tokens { result = max(result, token) }
    return result
}

private func widened(_ tokens: [UInt16]) -> [UInt32] { tokens.map(UInt32.init(_:)) }
