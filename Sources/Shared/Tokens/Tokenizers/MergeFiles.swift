// GPT-2's pair of files: vocab.bpe lists the merges in order, encoder.json the ids. They are read as the tokenizer.json
// that says the same, and that file is what a dataset keeps: one file, which other programs read as well.

package import Bytes

enum MergeFiles {
    /// The tokenizer.json of both files.
    static func tokenizerJSON(
        merges: [UInt8], mergesFile: String, vocabulary: [UInt8], vocabularyFile: String
    ) throws(Fault) -> [UInt8] {
        guard let object = try JSON(parsing: vocabulary, name: vocabularyFile).objectValue else {
            throw .badData(vocabularyFile, "expected an object of tokens and their ids")
        }
        var pairs: [JSON] = []
        var line = 0
        for bytes in merges.split(separator: 0x0a, omittingEmptySubsequences: false) {
            line += 1
            let text = String(decoding: bytes.last == 0x0d ? bytes.dropLast() : bytes, as: UTF8.self)
            if text.isEmpty || (line == 1 && text.hasPrefix("#version")) { continue }
            if text.split(separator: " ", omittingEmptySubsequences: false).count != 2 {
                throw Fault(
                    .badData, "\(quoted(mergesFile)), line \(line): expected two tokens and a space between them")
            }
            pairs.append(.string(text))
        }
        let added = object.members.filter { $0.key.hasPrefix("<|") && $0.key.hasSuffix("|>") }
        return JSONTokenizerFile.write(
            vocabulary: .object(object), merges: pairs,
            special: added.compactMap { member in member.value.intValue.map { (member.key, $0) } }, expressions: nil)
    }
}

/// Writes tokenizer.json as `tokenizers` (Hugging Face) reads it.
package enum JSONTokenizerFile {
    /// - Parameter expressions: what cuts text, one after the other; nil for that of GPT-2, which ByteLevel has built in.
    package static func write(
        vocabulary: JSON, merges: [JSON], special: [(name: String, id: Int)], expressions: [String]?
    ) -> [UInt8] {
        let byteLevel: JSON = [
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
            "use_regex": .bool(expressions == nil),
        ]
        var preTokenizer = byteLevel
        if let expressions {
            let splits = expressions.map { expression -> JSON in
                ["type": "Split", "pattern": ["Regex": .string(expression)], "behavior": "Isolated", "invert": false]
            }
            preTokenizer = ["type": "Sequence", "pretokenizers": .array(splits + [byteLevel])]
        }
        let json: JSON = [
            "version": "1.0", "truncation": .null, "padding": .null,
            "added_tokens": .array(
                special.map {
                    [
                        "id": .integer($0.id), "content": .string($0.name), "single_word": false, "lstrip": false,
                        "rstrip": false, "normalized": false, "special": true,
                    ]
                }),
            "normalizer": .null, "pre_tokenizer": preTokenizer,
            "post_processor": [
                "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
            ],
            "decoder": ["type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true],
            "model": [
                "type": "BPE", "dropout": .null, "unk_token": .null, "continuing_subword_prefix": .null,
                "end_of_word_suffix": .null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                "vocab": vocabulary, "merges": .array(merges),
            ],
        ]
        return Array((json.compact + "\n").utf8)
    }
}
