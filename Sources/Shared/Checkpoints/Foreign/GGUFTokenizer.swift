// A byte-level BPE tokenizer.json as GGUF's metadata, both ways. GGUF names the rule that text is cut by instead of
// spelling it out; the expressions behind the names are those of the published tokenizers.

internal import Bytes

enum GGUFTokenizer {
    /// Ids beyond this are no vocabulary.
    private static let idLimit = 1 << 24

    /// What GGUF calls token types.
    private enum Kind: Int32 { case normal = 1, control = 3, userDefined, unused }

    private static let contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    private static let spaces = #"\s*[\r\n]+|\s+(?!\S)|\s+"#
    private static let upper = #"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"#
    private static let lower = #"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"#

    /// Rules whose expression stands in a Split before ByteLevel, by GGUF's names.
    private static let expressions: [(name: String, expression: String)] = [
        ("gpt-2", #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#),
        ("llama-bpe", contractions + #"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"# + spaces),
        ("qwen2", contractions + #"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"# + spaces),
        (
            "gpt-4o",
            upper + "*" + lower + "+" + contractions + "?|" + upper + "+" + lower + "*" + contractions
                + #"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|"# + spaces
        ),
        (
            "tekken",
            upper + "*" + lower + "+|" + upper + "+" + lower + #"*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|"# + spaces
        ),
    ]

    // MARK: to GGUF

    /// The metadata of a tokenizer.json for a model of `vocabulary` ids; nil when it is not byte-level BPE.
    /// - Parameter name: the file, for messages.
    /// - Throws: `Fault` (bad data) when it contradicts itself or the model.
    static func pairs(
        _ json: JSON, vocabulary: Int, name: String
    ) throws(Fault) -> (pairs: [(String, GGUFValue)], notes: [String])? {
        guard let model = json["model"], model["type"]?.stringValue ?? "BPE" == "BPE",
            model["byte_fallback"]?.boolValue != true, isByteLevel(json["pre_tokenizer"]),
            let vocab = model["vocab"]?.objectValue, let merges = model["merges"]?.arrayValue
        else { return nil }
        var tokens = [String?](repeating: nil, count: vocabulary)
        var kinds = [Int32](repeating: Kind.normal.rawValue, count: vocabulary)
        func place(_ token: String, _ value: JSON?) throws(Fault) -> Int {
            guard let id = value?.intValue, (0..<vocabulary).contains(id) else {
                throw .badData(
                    name,
                    "token \(quoted(token)) has id \(printable(value?.compact ?? "none")), the model has \(vocabulary) ids"
                )
            }
            return id
        }
        for (token, value) in vocab.members { tokens[try place(token, value)] = token }
        for added in json["added_tokens"]?.arrayValue ?? [] {
            guard let content = added["content"]?.stringValue else {
                throw .badData(name, "an added token without content")
            }
            let id = try place(content, added["id"])
            tokens[id] = content
            kinds[id] = added["special"]?.boolValue == true ? Kind.control.rawValue : Kind.userDefined.rawValue
        }
        var texts: [String] = []
        for (id, token) in tokens.enumerated() {
            if token == nil { kinds[id] = Kind.unused.rawValue }
            texts.append(token ?? "[PAD\(id)]")
        }
        var pairsOfMerges: [String] = []
        for merge in merges {
            let parts = merge.arrayValue?.compactMap(\.stringValue)
            guard let text = merge.stringValue ?? (parts?.count == 2 ? parts?.joined(separator: " ") : nil) else {
                throw .badData(name, "a merge that is no pair: \(printable(merge.compact))")
            }
            pairsOfMerges.append(text)
        }
        let rule = rule(json["pre_tokenizer"])
        let notes =
            rule == nil
            ? ["llama.cpp has no name that we know for the rule by which the tokenizer cuts text: 'default' is written"]
            : []
        return (
            [
                ("tokenizer.ggml.model", .string("gpt2")), ("tokenizer.ggml.pre", .string(rule ?? "default")),
                ("tokenizer.ggml.tokens", .strings(texts)), ("tokenizer.ggml.token_type", .i32s(kinds)),
                ("tokenizer.ggml.merges", .strings(pairsOfMerges)),
            ], notes
        )
    }

    private static func steps(_ part: JSON?) -> [JSON] {
        part?["type"]?.stringValue == "Sequence" ? part?["pretokenizers"]?.arrayValue ?? [] : part.map { [$0] } ?? []
    }

    private static func isByteLevel(_ part: JSON?) -> Bool { steps(part).last?["type"]?.stringValue == "ByteLevel" }

    /// GGUF's name of what stands before ByteLevel.
    private static func rule(_ part: JSON?) -> String? {
        var steps = steps(part)
        guard let last = steps.popLast(), last["add_prefix_space"]?.boolValue != true else { return nil }
        let usesPattern = last["use_regex"]?.boolValue ?? true
        if steps.isEmpty { return usesPattern ? "gpt-2" : nil }
        guard steps.count == 1 else { return nil }
        if usesPattern {
            let isSingleDigits = steps[0]["type"] == "Digits" && steps[0]["individual_digits"]?.boolValue == true
            return isSingleDigits ? "smollm" : nil
        }
        guard steps[0]["type"] == "Split", let text = steps[0]["pattern"]?["Regex"]?.stringValue else { return nil }
        var escaped = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\r": escaped.append(contentsOf: #"\r"#.unicodeScalars)
            case "\n": escaped.append(contentsOf: #"\n"#.unicodeScalars)
            default: escaped.append(scalar)
            }
        }
        return expressions.first { $0.expression == String(escaped) }?.name
    }

    // MARK: from GGUF

    /// The tokenizer.json of a file's metadata, or why there is none.
    static func json(_ pairs: [String: GGUFValue], name: String) throws(Fault) -> (json: JSON?, note: String?) {
        guard let kind = pairs["tokenizer.ggml.model"]?.text, kind != "no_vocab", kind != "none" else {
            return (nil, nil)
        }
        guard kind == "gpt2" else {
            return (nil, "its tokenizer is left out: \(quoted(kind)) is no byte-level BPE")
        }
        let rule = pairs["tokenizer.ggml.pre"]?.text ?? "default"
        guard let pre = preTokenizer(rule) else {
            return (nil, "its tokenizer is left out: the rule \(quoted(rule)) by which it cuts text is not known")
        }
        guard let tokens = pairs["tokenizer.ggml.tokens"]?.texts, let merges = pairs["tokenizer.ggml.merges"]?.texts
        else { throw .badData(name, "a tokenizer without 'tokenizer.ggml.tokens' or 'tokenizer.ggml.merges'") }
        if tokens.count > idLimit { throw .badData(name, "a tokenizer of \(tokens.count) tokens") }
        let kinds = pairs["tokenizer.ggml.token_type"]?.integers ?? [Int](repeating: 1, count: tokens.count)
        if kinds.count != tokens.count {
            throw .badData(name, "\(tokens.count) tokens with \(kinds.count) 'tokenizer.ggml.token_type'")
        }
        // A reader gives an added token that is not in the vocabulary the next id behind it, whatever the file says: so only
        // those stay out of it that come last, one after the other.
        func isAdded(_ id: Int) -> Bool { kinds[id] == 3 || kinds[id] == 4 }
        var end = tokens.count
        while end > 0, kinds[end - 1] == Int(Kind.unused.rawValue) { end -= 1 }
        var firstAdded = end
        while firstAdded > 0, isAdded(firstAdded - 1) { firstAdded -= 1 }
        if kinds[..<firstAdded].contains(Int(Kind.unused.rawValue)) { firstAdded = end }
        var vocab = JSONObject()
        var added: [JSON] = []
        for (id, token) in tokens.enumerated() {
            if kinds[id] == Int(Kind.unused.rawValue) { continue }
            if isAdded(id) {
                added.append([
                    "id": .integer(id), "content": .string(token), "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false, "special": .bool(kinds[id] == Int(Kind.control.rawValue)),
                ])
            }
            if id < firstAdded {
                if vocab[token] != nil { throw .badData(name, "token \(quoted(token)) is there twice") }
                vocab[token] = .integer(id)
            }
        }
        let model: JSON = [
            "type": "BPE", "dropout": .null, "unk_token": .null, "continuing_subword_prefix": .null,
            "end_of_word_suffix": .null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": .bool(rule == "llama-bpe"), "vocab": .object(vocab),
            "merges": .array(merges.map { .string($0) }),
        ]
        let json: JSON = [
            "version": "1.0", "truncation": .null, "padding": .null, "added_tokens": .array(added),
            "normalizer": rule == "qwen2" ? ["type": "NFC"] : .null, "pre_tokenizer": pre,
            "post_processor": [
                "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true,
            ],
            "decoder": ["type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true],
            "model": model,
        ]
        return (json, nil)
    }

    private static func preTokenizer(_ rule: String) -> JSON? {
        func byteLevel(_ usesPattern: Bool) -> JSON {
            ["type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": .bool(usesPattern)]
        }
        if rule == "gpt-2" { return byteLevel(true) }
        if rule == "smollm" {
            let digits: JSON = ["type": "Digits", "individual_digits": true]
            return ["type": "Sequence", "pretokenizers": [digits, byteLevel(true)]]
        }
        guard let expression = expressions.first(where: { $0.name == rule })?.expression else { return nil }
        let split: JSON = [
            "type": "Split", "pattern": ["Regex": .string(expression)], "behavior": "Isolated", "invert": false,
        ]
        return ["type": "Sequence", "pretokenizers": [split, byteLevel(false)]]
    }
}
