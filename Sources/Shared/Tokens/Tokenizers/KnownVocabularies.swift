// Rank files say nothing of the pattern they were made for nor of special tokens. Those that everybody uses are known by
// their digest; for others a pattern has to be named.

internal import Bytes

struct KnownVocabulary {
    let name: String
    let pattern: PretokenPattern
    let form: NormalForm?
    let special: [(name: String, id: Int)]
    let vocabularySize: Int

    /// The published file with this digest, if it is one.
    static func find(_ digest: Digest) -> KnownVocabulary? {
        switch digest.description {
        case "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930":
            KnownVocabulary(
                name: "r50k_base", pattern: .gpt2, form: nil, special: [("<|endoftext|>", 50256)],
                vocabularySize: 50257)
        case "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069":
            KnownVocabulary(
                name: "p50k_base", pattern: .gpt2, form: nil, special: [("<|endoftext|>", 50256)],
                vocabularySize: 50281)
        case "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7":
            KnownVocabulary(
                name: "cl100k_base", pattern: .cl100kTiktoken, form: nil,
                special: [
                    ("<|endoftext|>", 100257), ("<|fim_prefix|>", 100258), ("<|fim_middle|>", 100259),
                    ("<|fim_suffix|>", 100260), ("<|endofprompt|>", 100276),
                ], vocabularySize: 100277)
        case "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d":
            KnownVocabulary(
                name: "o200k_base", pattern: .o200k, form: nil,
                special: [("<|endoftext|>", 199999), ("<|endofprompt|>", 200018)], vocabularySize: 200019)
        case qwenDigest:
            KnownVocabulary(
                name: "qwen", pattern: .qwen, form: .nfc,
                special: [("<|endoftext|>", 151643), ("<|im_start|>", 151644), ("<|im_end|>", 151645)]
                    + (0..<205).map { ("<|extra_\($0)|>", 151646 + $0) }, vocabularySize: 151851)
        default: nil
        }
    }

    private static let qwenDigest = "b2b1b8dfb5cc5f024bafc373121c6aba3f66f9a5a0269e243470a1de16a33186"
}
