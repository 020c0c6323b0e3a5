// Reads everything and believes nothing: every byte of a dataset is under a digest, a checksum or a rule here. One
// finding is one line; a damaged frame does not hide the next one.

private import Bytes
private import SystemPackage

extension Dataset {
    /// Checks sidecars, tokenizer file, and of every shard the digest, the tables, every frame's content checksum, that
    /// ids stay below the vocabulary size, the document ends, and what the index says of each frame.
    /// - Parameters:
    ///   - deep: also decodes all ids with the dataset's tokenizer: each must have a token there, not only be below the
    ///     vocabulary size, and the end-of-document id stands at the end of documents and nowhere else.
    ///   - report: called with each finding, in order.
    ///   - progress: called with the tokens checked.
    /// - Returns: the number of findings; 0 for a sound dataset.
    public func verify(
        threads: Int, deep: Bool = false, report: (String) -> Void, progress: (Int) -> Void = { _ in }
    ) throws -> Int {
        var findings = 0
        var checked = 0
        func find(_ message: String) {
            findings += 1
            report(message)
        }
        /// A fault of the data is a finding; an interrupted or failing system is not.
        func collect(_ body: () throws -> Void) throws {
            do { try body() } catch let fault as Fault { find(fault.message) }
        }
        try collect { try verifyTokenizerFile() }
        // Without the tokenizer's file, which was looked at above, there is nothing to hold ids against.
        let meaning = deep ? try? TokenMeaning(manifest.tokenizer, in: path) : nil
        for index in 0..<shardCount {
            try collect { try verifySidecar(index) }
            try collect { try verifyDigest(index) }
            var opened: Shard?
            try collect { opened = try shard(index) }
            guard let shard = opened else { continue }
            let endOfDocument = !manifest.tokenizer.canDecode ? nil : manifest.tokenizer.endOfDocument
            var next = 0
            try orderedParallelMap(
                threads: threads,
                next: { () -> Int? in
                    next += 1
                    return next <= shard.frameCount ? next - 1 : nil
                },
                makeWorker: {
                    let decompressor = ZstdDecompressor()
                    return { k in
                        shard.check(frame: k, endOfDocument: endOfDocument, meaning: meaning, using: decompressor)
                    }
                },
                emit: { (faults: [String]) in
                    for fault in faults { find(fault) }
                    checked += shard.type.tokensPerFrame
                    progress(min(checked, manifest.totals.tokens))
                })
        }
        return findings
    }

    private func verifyTokenizerFile() throws(Fault) {
        guard let file = manifest.tokenizer.file, let expected = manifest.tokenizer.sha256 else { return }
        let path = FilePath(path).appending(file)
        let found = try InputFile(path).digest()
        if found != expected { throw Dataset.badDigest(path.string, expected, found) }
    }

    private func verifySidecar(_ index: Int) throws(Fault) {
        let record = manifest.shards[index]
        let suffix = ".tok.zst"
        guard record.name.hasSuffix(suffix) else { return }
        let path = FilePath(path).appending(record.name.dropLast(suffix.count) + ".json")
        let sidecar = try DatasetManifest(
            parsingSidecar: try InputFile(path).readAll(limit: 1 << 20), name: path.string)
        if Array(sidecar.shards) != [record] || sidecar.vocabularySize != vocabularySize
            || sidecar.tokenizer != manifest.tokenizer || sidecar.transform != manifest.transform
        {
            throw .badData(path.string, "expected what '\(DatasetManifest.fileName)' says of the shard, found another")
        }
    }

    private func verifyDigest(_ index: Int) throws(Fault) {
        let record = manifest.shards[index]
        let path = FilePath(path).appending(record.name)
        if FileSystem.kind(of: path, followingLinks: false) == .symbolicLink { return }  // opening names it
        guard let file = try? InputFile(path), file.size == record.bytes else { return }  // so it does these
        let found = try file.digest()
        if found != record.sha256 { throw Dataset.badDigest(path.string, record.sha256, found) }
    }

    private static func badDigest(_ path: String, _ expected: Digest, _ found: Digest) -> Fault {
        Fault(.badData, "bad sha256 of \(quoted(path)): expected \(expected), found \(found)")
    }
}

extension Shard {
    /// Everything that can be wrong with one frame, in words.
    fileprivate func check(
        frame k: Int, endOfDocument: Int?, meaning: TokenMeaning?, using decompressor: ZstdDecompressor
    ) -> [String] {
        var findings: [String] = []
        var ids: [UInt32]?
        do throws(Fault) { ids = try tokens(inFrame: k, using: decompressor) } catch { findings.append(error.message) }
        var ends: [UInt32]?
        do throws(Fault) { ends = try documentEnds(inFrame: k) } catch { findings.append(error.message) }
        guard let ids else { return findings }
        if k + 1 < frameCount, let last = ids.last, frameEntry(k + 1).previousToken != last {
            findings.append(
                fault(
                    frame: k, "the index expects its last token to be \(frameEntry(k + 1).previousToken), found \(last)"
                ).message)
        }
        if let endOfDocument, let ends {
            for end in ends where ids[Int(end) - 1] != UInt32(endOfDocument) {
                findings.append(
                    fault(
                        frame: k,
                        "expected token \(tokenOffset(ofFrame: k) + Int(end) - 1) to end a document with id "
                            + "\(endOfDocument), found \(ids[Int(end) - 1])"
                    ).message)
                break
            }
        }
        if let meaning, let ends, let fault = meaning.fault(ids, ends: ends) {
            findings.append(
                self.fault(frame: k, "token \(tokenOffset(ofFrame: k) + fault.place) \(fault.reason)").message)
        }
        return findings
    }
}

/// What ids mean to the tokenizer that made them, as far as a check of a frame goes.
private struct TokenMeaning: Sendable {
    let tokenizer: (any Tokenizer)?
    let endOfDocument: UInt32?

    /// - Parameter directory: where the copy of the tokenizer's file lies.
    init(_ record: TokenizerRecord, in directory: String) throws(Fault) {
        tokenizer = try record.tokenizer(in: directory)
        // A token of a file may stand in text where special tokens were allowed.
        endOfDocument = record.file == nil ? record.endOfDocument.map { UInt32($0) } : nil
    }

    /// The first id of a frame that has no token or ends a document where none ends.
    func fault(_ ids: [UInt32], ends: [UInt32]) -> (place: Int, reason: String)? {
        if let tokenizer {
            if let place = ids.firstIndex(where: { Int($0) >= tokenizer.vocabularySize }) {
                return (place, "is id \(ids[place]), for which the tokenizer has no token")
            }
            _ = tokenizer.decode(ids)
        }
        guard let endOfDocument else { return nil }
        var next = 0
        for (place, id) in ids.enumerated() {
            if next < ends.count, place + 1 == Int(ends[next]) {
                next += 1
            } else if id == endOfDocument {
                return (place, "is the end-of-document id \(id) inside a document")
            }
        }
        return nil
    }
}
