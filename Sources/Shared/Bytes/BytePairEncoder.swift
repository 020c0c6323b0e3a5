// The Swift face of CKernels' inner loops over text: vocabularies and encoders of byte-level BPE as objects that own
// their memory. Which file a vocabulary comes from, and what its special tokens are, is for `Tokens` to know.

internal import CKernels

/// How text is cut into pre-tokens before their bytes are merged: one scanner a family of regular expressions
/// (docs/formats/tokenizer.md).
public enum PretokenPattern: String, Sendable, Hashable, CaseIterable {
    case gpt2
    case cl100k
    /// As `cl100k`, but white space at the end of a text stays together: what tiktoken does since its version 0.8.
    case cl100kTiktoken = "cl100k-tiktoken"
    case qwen
    case o200k
    case tekken
    case deepseek

    var code: mr_pattern {
        switch self {
        case .gpt2: MR_PATTERN_GPT2
        case .cl100k: MR_PATTERN_CL100K
        case .cl100kTiktoken: MR_PATTERN_CL100K_TIKTOKEN
        case .qwen: MR_PATTERN_QWEN
        case .o200k: MR_PATTERN_O200K
        case .tekken: MR_PATTERN_TEKKEN
        case .deepseek: MR_PATTERN_DEEPSEEK
        }
    }

    /// The ends of the pre-tokens of a whole text of less than 4 GiB.
    public func ends(in text: [UInt8]) -> [Int] {
        let padded = text + [UInt8](repeating: 0xff, count: 32)
        // SAFETY: 32 bytes follow the text, as the function asks; it writes at most `capacity` ends, of which every
        // pre-token, at least a byte long, has one.
        let ends = unsafe [UInt32](unsafeUninitializedCapacity: text.count) { buffer, initialized in
            initialized = unsafe padded.withUnsafeBufferPointer {
                unsafe mr_pretoken_ends(code, $0.baseAddress, text.count, buffer.baseAddress, text.count)
            }
        }
        return ends.map(Int.init)
    }
}

/// The normal form that text is put into before it is cut.
public enum NormalForm: String, Sendable, Hashable {
    case nfc = "NFC"
    case nfkc = "NFKC"
}

/// A vocabulary of byte strings with its merges. Immutable; any number of encoders may use it at once.
@safe
public final class BytePairVocabulary: @unchecked Sendable {
    // SAFETY: owned, made in init, freed in deinit; nothing writes to it in between.
    fileprivate let handle: OpaquePointer

    /// Ids are below this.
    public static let idLimit = 1 << 24

    /// Pairs that merge, in order of urgency.
    public struct Merge: Sendable, BitwiseCopyable {
        public var left: UInt32
        public var right: UInt32
        public var merged: UInt32

        public init(left: UInt32, right: UInt32, merged: UInt32) {
            self.left = left
            self.right = right
            self.merged = merged
        }
    }

    /// - Parameters:
    ///   - bytes: the tokens one after the other; token i ends before `offsets[i + 1]`.
    ///   - ids: of each token. Every single byte must be a token, and none empty or there twice.
    ///   - merges: nil when any two tokens merge whose bytes together are a token, the lowest id first.
    ///   - isWhole: whether a pre-token that is a token is left alone.
    public init(bytes: [UInt8], offsets: [UInt32], ids: [UInt32], merges: [Merge]?, isWhole: Bool) {
        precondition(offsets.count == ids.count + 1 && Int(offsets[ids.count]) == bytes.count)
        precondition(ids.allSatisfy { $0 < BytePairVocabulary.idLimit }, "an id is above the limit")
        // SAFETY: the function copies what it is given, of the sizes that it is given.
        let made = unsafe bytes.withUnsafeBufferPointer { bytes in
            unsafe offsets.withUnsafeBufferPointer { offsets in
                unsafe ids.withUnsafeBufferPointer { ids in
                    guard let merges else {
                        return unsafe mr_vocabulary_create(
                            bytes.baseAddress, offsets.baseAddress, ids.baseAddress, ids.count, nil, 0, isWhole)
                    }
                    // An empty list of merges is another thing than none.
                    let words = merges.isEmpty ? [Merge(left: 0, right: 0, merged: 0)] : merges
                    return unsafe words.withUnsafeBytes { words in
                        unsafe mr_vocabulary_create(
                            bytes.baseAddress, offsets.baseAddress, ids.baseAddress, ids.count,
                            words.bindMemory(to: UInt32.self).baseAddress, merges.count, isWhole)
                    }
                }
            }
        }
        guard let made = unsafe made else {
            preconditionFailure("out of memory for a vocabulary of \(ids.count) tokens")
        }
        unsafe handle = made
    }

    deinit { unsafe mr_vocabulary_destroy(handle) }
}

/// Encodes one text after the other, each in pieces of any size. One per thread. It holds 12 MiB of caches and the text
/// from the last certain border between pre-tokens on.
@safe
public final class BytePairEncoder {
    // SAFETY: owned, made in init, freed in deinit, used by one thread at a time (the class is not Sendable).
    private let handle: OpaquePointer
    private let vocabulary: BytePairVocabulary
    private let isWide: Bool
    private var isBroken = false

    /// A pre-token of more bytes than this is refused: merging it takes 44 times its size.
    public static let pretokenLimit = Int(64 << 20)

    /// - Parameters:
    ///   - pattern: nil when a text is one pre-token.
    ///   - isWide: ids come out as u32, else as u16, which every id must fit.
    public init(_ vocabulary: BytePairVocabulary, pattern: PretokenPattern?, form: NormalForm?, isWide: Bool) {
        let form = form == nil ? MR_FORM_NONE : form == .nfc ? MR_FORM_NFC : MR_FORM_NFKC
        guard let made = unsafe mr_encoder_create(vocabulary.handle, pattern?.code ?? MR_PATTERN_NONE, form, isWide)
        else {
            preconditionFailure("out of memory for an encoder")
        }
        unsafe handle = made
        self.vocabulary = vocabulary
        self.isWide = isWide
    }

    deinit { unsafe mr_encoder_destroy(handle) }

    /// The little-endian ids of all text that is certain by now; with `isLast`, where the text ends, of all the rest.
    /// - Throws: `Fault` (bad data) for a pre-token that is too long. The encoder is of no use afterwards.
    public func encode(_ text: [UInt8], isLast: Bool) throws(Fault) -> [UInt8] {
        precondition(!isBroken, "an encoder is used after it failed")
        // SAFETY: the function copies the bytes.
        let bound = unsafe text.withUnsafeBufferPointer {
            unsafe mr_encoder_push(handle, $0.baseAddress, $0.count, isLast)
        }
        try check(bound)
        if bound == 0 && !isLast { return [] }
        let width = isWide ? 4 : 2
        var count: Int64 = 0
        // SAFETY: room for as many ids as was announced and the slack that the function asks for; an array's storage is
        // aligned to 16 bytes.
        let stored = unsafe [UInt8](unsafeUninitializedCapacity: (Int(bound) + Int(MR_ENCODER_SLACK)) * width) {
            buffer, initialized in
            count = unsafe mr_encoder_pull(handle, buffer.baseAddress)
            initialized = max(0, Int(count)) * width
        }
        try check(count)
        return stored
    }

    private func check(_ result: Int64) throws(Fault) {
        if result >= 0 { return }
        isBroken = true
        if result == MR_ENCODER_TOO_LONG {
            throw Fault(.badData, "a pre-token of more than \(BytePairEncoder.pretokenLimit) bytes")
        }
        throw Fault(.inputOutput, "out of memory while encoding text")
    }
}
