// Hugging Face's tokenizer.json, as far as it is byte-level BPE. The file is a pipeline, and any part of it that this
// release does not do changes ids: what is unknown is refused by its name, never passed over.

internal import Bytes

struct TokenizerJSON {
    private let file: String
    private let json: JSON

    init(_ content: [UInt8], file: String) throws(Fault) {
        self.file = file
        json = try JSON(parsing: content, name: file)
    }

    private func refuse(_ part: String, _ found: String) -> Fault {
        .badData(
            file, "\(part) \(found) is not supported",
            hint: "byte-level BPE is read, with the patterns that docs/formats/tokenizer.md lists")
    }

    private func fault(_ reason: String) -> Fault { .badData(file, reason) }

    func parts(name: String) throws(Fault) -> BytePairTokenizer.Parts {
        guard let object = json.objectValue else { throw fault("expected an object") }
        for key in object.keys {
            switch key {
            case "version", "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder", "model":
                continue
            case "truncation", "padding":
                if json[key]?.isNull != true { throw refuse(key, "that is not null") }
            default: throw refuse("member", quoted(key))
            }
        }
        if json["model"]?.objectValue == nil { throw fault("model: expected an object") }
        var parts = BytePairTokenizer.Parts(name: name)
        parts.form = try normalizer(json["normalizer"] ?? .null)
        parts.pattern = try preTokenizer(json["pre_tokenizer"] ?? .null)
        try checkPostProcessor(json["post_processor"] ?? .null)
        let decoder = json["decoder"] ?? .null
        if !decoder.isNull, type(decoder) != "ByteLevel" { throw refuse("decoder", quoted(type(decoder))) }
        try model(&parts)
        return parts
    }

    private func type(_ part: JSON) -> String { part["type"]?.stringValue ?? "without a type" }

    // MARK: the pipeline

    private func normalizer(_ part: JSON) throws(Fault) -> NormalForm? {
        if part.isNull { return nil }
        switch type(part) {
        case "NFC": return .nfc
        case "NFKC": return .nfkc
        case "Sequence":
            var form: NormalForm?
            for inner in part["normalizers"]?.arrayValue ?? [] {
                // NFKC after NFC, and the other way round, is NFKC.
                let next = try normalizer(inner)
                if form != .nfkc { form = next ?? form }
            }
            return form
        default: throw refuse("normalizer", quoted(type(part)))
        }
    }

    private func preTokenizer(_ part: JSON) throws(Fault) -> PretokenPattern? {
        var steps = [part]
        if type(part) == "Sequence" { steps = part["pretokenizers"]?.arrayValue ?? [] }
        guard let last = steps.popLast(), type(last) == "ByteLevel" else {
            throw refuse(
                "pre_tokenizer",
                part.isNull ? "null" : quoted(type(steps.last ?? part)) + " without a ByteLevel at the end")
        }
        if last["add_prefix_space"]?.boolValue == true {
            throw refuse("pre_tokenizer 'ByteLevel'", "with add_prefix_space")
        }
        let usesPattern = last["use_regex"]?.boolValue ?? true
        if steps.isEmpty { return usesPattern ? .byteLevel : nil }
        if usesPattern { throw refuse("pre_tokenizer 'ByteLevel'", "with use_regex after another step") }
        var expressions: [String] = []
        for step in steps {
            if type(step) != "Split" { throw refuse("pre_tokenizer", quoted(type(step))) }
            guard let expression = step["pattern"]?["Regex"]?.stringValue else {
                throw refuse("pre_tokenizer 'Split'", "without a Regex")
            }
            let behavior = step["behavior"]?.stringValue ?? ""
            let isInverted = step["invert"]?.boolValue ?? false
            // The expressions of the single ones match all of a text, so that what they match and what lies between them are
            // cut alike.
            let isKnown =
                behavior == "Isolated" && !isInverted || behavior == "Removed" && isInverted && steps.count == 1
            if !isKnown {
                throw refuse("pre_tokenizer 'Split'", "with behavior \(quoted(behavior)), invert \(isInverted),")
            }
            expressions.append(expression)
        }
        guard let pattern = PretokenPattern(expressions: expressions) else {
            throw refuse("pre_tokenizer 'Split' with the pattern", expressions.map(quoted).joined(separator: ", then "))
        }
        return pattern
    }

    /// What stands around a text, such as a marker of its beginning, is for those who make prompts: documents end with
    /// their end-of-document id here, and nothing else is added.
    private func checkPostProcessor(_ part: JSON) throws(Fault) {
        if part.isNull { return }
        switch type(part) {
        case "ByteLevel", "TemplateProcessing": return
        case "Sequence": for inner in part["processors"]?.arrayValue ?? [] { try checkPostProcessor(inner) }
        default: throw refuse("post_processor", quoted(type(part)))
        }
    }

    // MARK: the model

    private func model(_ parts: inout BytePairTokenizer.Parts) throws(Fault) {
        guard let model = json["model"], model.objectValue != nil else { throw fault("model: expected an object") }
        if let kind = model["type"]?.stringValue, kind != "BPE" { throw refuse("model", quoted(kind)) }
        for (key, value) in model.objectValue?.members ?? [] {
            switch key {
            case "type", "vocab", "merges": continue
            case "ignore_merges": parts.isWhole = value.boolValue ?? false
            case "dropout":
                if !value.isNull && value.doubleValue != 0 { throw refuse("model: dropout", value.compact) }
            // There is a token for every byte, so that nothing is ever unknown.
            case "unk_token", "fuse_unk": continue
            case "continuing_subword_prefix", "end_of_word_suffix":
                if !value.isNull && value.stringValue != "" { throw refuse("model: \(key)", value.compact) }
            case "byte_fallback": if value.boolValue == true { throw refuse("model: byte_fallback", "true") }
            default: throw refuse("model: member", quoted(key))
            }
        }
        if model["ignore_merges"] == nil { parts.isWhole = false }
        guard let vocabulary = model["vocab"]?.objectValue else { throw fault("model.vocab: expected an object") }
        let ids = try tokens(vocabulary, &parts)
        guard let merges = model["merges"]?.arrayValue else { throw fault("model.merges: expected an array") }
        parts.merges = try self.merges(merges, ids)
        try addedTokens(vocabulary, &parts)
    }

    /// The vocabulary's tokens by their bytes.
    private func tokens(
        _ vocabulary: JSONObject, _ parts: inout BytePairTokenizer.Parts
    ) throws(Fault) -> [[UInt8]: UInt32] {
        var ids = [[UInt8]: UInt32](minimumCapacity: vocabulary.count)
        for (text, value) in vocabulary.members {
            guard let number = value.intValue, let id = UInt32(exactly: number), number < BytePairVocabulary.idLimit
            else {
                throw fault("model.vocab: \(quoted(text)): expected an id below \(BytePairVocabulary.idLimit)")
            }
            // What is not written in the alphabet of bytes cannot come out of bytes: a special token.
            guard let bytes = ByteLevel.decode(text), !bytes.isEmpty else {
                parts.unreachable.append((id, Array(text.utf8)))
                continue
            }
            ids[bytes] = id
            parts.append(bytes, id: id)
        }
        return ids
    }

    private func merges(_ list: [JSON], _ ids: [[UInt8]: UInt32]) throws(Fault) -> [BytePairVocabulary.Merge] {
        var merges: [BytePairVocabulary.Merge] = []
        merges.reserveCapacity(list.count)
        for (index, entry) in list.enumerated() {
            let pair: [String]
            if let text = entry.stringValue {
                pair = text.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
            } else {
                pair = entry.arrayValue?.compactMap(\.stringValue) ?? []
            }
            guard pair.count == 2 else { throw fault("model.merges[\(index)]: expected two tokens") }
            guard let left = ByteLevel.decode(pair[0]), let right = ByteLevel.decode(pair[1]), let first = ids[left],
                let second = ids[right], let merged = ids[left + right]
            else {
                throw fault(
                    "model.merges[\(index)]: \(quoted(pair[0])) and \(quoted(pair[1])): they or what they merge into are not in the vocabulary"
                )
            }
            merges.append(BytePairVocabulary.Merge(left: first, right: second, merged: merged))
        }
        return merges
    }

    private func addedTokens(_ vocabulary: JSONObject, _ parts: inout BytePairTokenizer.Parts) throws(Fault) {
        guard let list = (json["added_tokens"] ?? .array([])).arrayValue else {
            throw fault("added_tokens: expected an array")
        }
        var names = Set<[UInt8]>()
        for (index, entry) in list.enumerated() {
            guard let id = entry["id"]?.intValue, let content = entry["content"]?.stringValue, !content.isEmpty else {
                throw fault("added_tokens[\(index)]: expected an id and a content")
            }
            if let known = vocabulary[content]?.intValue, known != id {
                throw fault(
                    "added_tokens[\(index)]: \(quoted(content)) has id \(id) here and \(known) in the vocabulary")
            }
            if !names.insert(Array(content.utf8)).inserted {
                throw fault("added_tokens[\(index)]: \(quoted(content)) is there twice")
            }
            func flag(_ key: String) -> Bool { entry[key]?.boolValue ?? false }
            var token = SpecialToken(id: id, content: Array(content.utf8), isSpecial: flag("special"))
            if let obstacle = ["single_word", "lstrip", "rstrip"].first(where: flag) { token.obstacle = obstacle }
            if parts.form != nil && flag("normalized") { token.obstacle = "normalized, with a normalizer" }
            if let obstacle = token.obstacle, !token.isSpecial {
                throw refuse("added token \(quoted(content))", "with \(obstacle)")
            }
            parts.special.append(token)
        }
    }
}
