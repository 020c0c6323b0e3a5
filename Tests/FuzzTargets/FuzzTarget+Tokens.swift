// Datasets, tokenizers, and token files of other programs.

import Batches
import Bytes
import SystemPackage
import Tokens

extension FuzzTarget {
    /// A shard, every frame and every document end of it. When the byte in front of it is odd the checksums of its index are
    /// put right.
    func fuzzShard(_ bytes: [UInt8]) throws {
        let (isMended, raw) = FuzzScratch.mode(bytes)
        let content = isMended ? FuzzTarget.checked(raw) : raw
        var refusal: Fault?
        for size in [257, 100_000] {
            do {
                let shard = try Shard(MemoryFile(content, name: "shard-00000.tok.zst"), vocabularySize: size)
                let decompressor = ZstdDecompressor()
                var (tokens, documents) = (0, 0)
                for k in 0..<shard.frameCount {
                    tokens += try shard.tokens(inFrame: k, using: decompressor).count
                    documents += try shard.documentEnds(inFrame: k).count
                }
                if tokens != shard.tokenCount || documents != shard.documentCount {
                    throw BrokenPromise("\(tokens) tokens and \(documents) documents, not as the shard says")
                }
                return
            } catch let fault as Fault { refusal = fault }
        }
        if let refusal { throw refusal }
    }

    /// The shard with the CRC-32C of its index, and of the first frame's document ends, as they should be.
    private static func checked(_ bytes: [UInt8]) -> [UInt8] {
        func word(_ offset: Int) -> Int? {
            offset < 0 ? nil : bytes.littleEndian(at: offset, as: UInt32.self).map { Int($0) }
        }
        guard let entries = word(bytes.count - 9), (1...1000).contains(entries) else { return bytes }
        let table = bytes.count - 9 - 12 * entries
        var start = 0
        for k in 0..<entries - 1 { start += word(table + 12 * k) ?? 0 }
        let payload = start + 8
        let end = table - 8
        guard let version = word(payload + 4), let frames = word(payload + 12), end <= bytes.count else { return bytes }
        let ranks = version == 2 ? 4 + 4 * (word(payload + 32) ?? 0) : 0
        let entry = payload + 32 + ranks
        let ends = entry + 24 * frames
        guard entry > payload, frames < 1000, ends + 4 <= end, frames > 0 else { return bytes }
        var result = bytes
        func put(_ value: UInt32, at offset: Int) {
            for k in 0..<4 { result[offset + k] = UInt8(truncatingIfNeeded: value >> (8 * k)) }
        }
        let documents = frames > 1 ? word(entry + 24) ?? 0 : (end - 4 - ends) / 4
        if ends + 4 * documents <= end - 4 {
            put(CRC32C.checksum(bytes, in: ends..<ends + 4 * documents), at: entry + 20)
        }
        put(CRC32C.checksum(result, in: payload..<ends), at: end - 4)
        return result
    }

    /// dataset.json by both of its readers, or a sidecar.
    func fuzzDataset(_ bytes: [UInt8]) throws {
        if let sidecar = try? DatasetManifest(parsingSidecar: bytes, name: "shard-00000.json") {
            _ = sidecar.digest
            return
        }
        let whole = Result { try DatasetManifest(parsing: bytes, name: "dataset.json") }
        let pieces = Result {
            try DatasetManifest(reading: MemorySource(bytes, name: "dataset.json", chunk: 7), size: bytes.count)
        }
        switch (whole, pieces) {
        case (.success(let one), .success(let other)):
            if one != other || one.digest != other.digest { throw BrokenPromise("the readers differ") }
        case (.failure(let fault), .failure): throw fault
        default: throw BrokenPromise("one reader refuses what the other takes: \(whole), \(pieces)")
        }
        // What is planned before a shard is opened; there is none.
        do throws(Fault) {
            let source = try TokenSource([try Dataset(MemoryStore(files: [DatasetManifest.fileName: bytes]))])
            for packing in Packing.allCases {
                for order in Order.allCases {
                    let recipe = Recipe(length: 1 << 10, order: order, packing: packing)
                    let producer = try BatchProducer(source, recipe: recipe, rows: 2, limit: 1)
                    _ = (producer.head.json.compact, try? producer.rowsToEmit())
                }
            }
        } catch {}
    }

    /// A loss mask: dataset.json, loss-mask.json, in which DATASET stands for the dataset's digest, and the mask of every
    /// shard, the checksum of whose head is put right.
    func fuzzMask(_ bytes: [UInt8]) throws {
        let (head, rest) = FuzzScratch.parts(bytes)
        var (list, mask) = FuzzScratch.parts(rest)
        let dataset = try Dataset(MemoryStore(files: [DatasetManifest.fileName: head]))
        let texts = String(decoding: list, as: UTF8.self).split(separator: "DATASET", omittingEmptySubsequences: false)
        list = Array(texts.joined(separator: dataset.digest.description).utf8)
        if let frames = mask.littleEndian(at: 20, as: UInt32.self), 24 + 4 * Int(frames) + 4 <= mask.count {
            let end = 24 + 4 * Int(frames)
            let crc = CRC32C.checksum(mask, in: 0..<end)
            for k in 0..<4 { mask[end + k] = UInt8(truncatingIfNeeded: crc >> (8 * k)) }
        }
        let whole = try Dataset(
            MemoryStore(files: [DatasetManifest.fileName: head, LossMaskManifest.fileName: list], otherwise: mask))
        let manifest = try LossMaskManifest(of: whole)
        _ = manifest.digest
        for index in manifest.shards.indices.prefix(4) {
            _ = try whole.mask(index, manifest).counts(of: 0..<min(whole.manifest.shards[index].tokens, 1 << 18))
        }
    }

    /// A tokenizer file of any kind: as it is, and as ranks with each pattern; then text through it and back.
    func fuzzTokenizer(_ bytes: [UInt8], _ scratch: FuzzScratch) throws {
        let path = try scratch.write(bytes, "tokenizer.json").string
        var refusal: Fault?
        for pattern in [nil] + PretokenPattern.allCases.map(Optional.some) {
            do throws(Fault) {
                let tokenizer = try BytePairTokenizer(path: path, pattern: pattern)
                try FuzzTarget.encode(tokenizer, bytes)
                if pattern == nil { return }
                refusal = nil
            } catch { refusal = error }
            // A file that says how text is cut is no rank file.
            if bytes.first == UInt8(ascii: "{") { break }
        }
        if let refusal { throw refusal }
    }

    /// vocab.bpe with encoder.json.
    func fuzzMerges(_ bytes: [UInt8], _ scratch: FuzzScratch) throws {
        let (merges, vocabulary) = FuzzScratch.parts(bytes)
        _ = try scratch.write(vocabulary, "encoder.json")
        let path = try scratch.write(merges, "vocab.bpe").string
        try FuzzTarget.encode(try BytePairTokenizer(path: path), bytes)
    }

    private static func encode(_ tokenizer: BytePairTokenizer, _ bytes: [UInt8]) throws(Fault) {
        let text = Array("Grüße, don't 12345\n\n  <|endoftext|>\u{2028}".utf8) + bytes.suffix(64)
        let ids = try tokenizer.ids(of: text, allowSpecial: true)
        _ = tokenizer.decode(ids)
        // Ids of no token, too.
        _ = tokenizer.decode([0, UInt32(clamping: tokenizer.vocabularySize), .max])
    }

    /// Megatron's pair: the index and the ids.
    func fuzzMegatron(_ bytes: [UInt8], _ scratch: FuzzScratch) throws {
        let (index, ids) = FuzzScratch.parts(bytes)
        _ = try scratch.write(index, "x.idx")
        let path = try scratch.write(ids, "x.bin")
        try FuzzTarget.ingest(path, .megatron, scratch)
    }

    /// MosaicML streaming's directory: index.json and one shard, raw and under the name of a compressed one.
    func fuzzMDS(_ bytes: [UInt8], _ scratch: FuzzScratch) throws {
        let (index, shard) = FuzzScratch.parts(bytes)
        _ = try scratch.write(index, "index.json")
        for name in ["shard.00000.mds", "shard.00000.mds.zstd"] { _ = try scratch.write(shard, name) }
        try FuzzTarget.ingest(scratch.directory, .mds, scratch)
    }

    /// Token files that are one file, and datatrove's pair; the first byte chooses.
    func fuzzTokens(_ bytes: [UInt8], _ scratch: FuzzScratch) throws {
        let formats: [DocumentFormat] = [.npy, .llmc, .datatrove, .idsJSONLines, .idsText, .ids16, .ids32]
        let format = formats[Int(bytes.first ?? 0) % formats.count]
        var content = Array(bytes.dropFirst())
        if format == .datatrove {
            let (index, ids) = FuzzScratch.parts(content)
            _ = try scratch.write(index, "x.ds.index")
            content = ids
        }
        try FuzzTarget.ingest(try scratch.write(content, "x.ds"), format, scratch)
    }

    /// As `tok-shard import` does it.
    private static func ingest(_ path: FilePath, _ format: DocumentFormat, _ scratch: FuzzScratch) throws {
        let output = scratch.directory.appending("out")
        defer { try? FileSystem.remove(output) }
        var recipe = IngestRecipe(
            inputs: [path.string], format: format, vocabularySize: 1000, endOfDocument: nil)
        recipe.field = "tokens"
        var ingest = try Ingest(recipe, tokenizer: nil, output: output.string, resume: false)
        _ = try ingest.run(threads: 1)
    }
}
