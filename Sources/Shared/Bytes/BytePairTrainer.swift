// The Swift face of training: text in, merges out.

internal import CKernels

/// Counts the unique pre-tokens of texts and finds the merges of a vocabulary. Not for concurrent use.
@safe
public final class BytePairTrainer {
    // SAFETY: owned, made in init, freed in deinit, used by one thread at a time (the class is not Sendable).
    private let handle: OpaquePointer
    private let memoryLimit: Int
    private var isBroken = false

    /// - Parameter memoryLimit: bytes for the unique pre-tokens while text is counted.
    public init(pattern: PretokenPattern, memoryLimit: Int) {
        guard let made = unsafe mr_counter_create(pattern.code, memoryLimit) else {
            preconditionFailure("out of memory for a table of pre-tokens")
        }
        unsafe handle = made
        self.memoryLimit = memoryLimit
    }

    deinit { unsafe mr_counter_destroy(handle) }

    /// Adds a piece of a text; with `isLast` the text ends here.
    /// - Throws: `Fault`: more unique pre-tokens than the limit allows, or one that is too long.
    public func count(_ text: [UInt8], isLast: Bool) throws(Fault) {
        precondition(!isBroken, "a trainer is used after it failed")
        // SAFETY: the function copies the bytes.
        let result = unsafe text.withUnsafeBufferPointer {
            unsafe mr_counter_push(handle, $0.baseAddress, $0.count, isLast)
        }
        if result == 0 { return }
        isBroken = true
        switch Int32(result) {
        case MR_COUNTER_FULL:
            throw Fault(
                .usage, "\(uniquePretokens) unique pre-tokens need more than the \(memoryLimit >> 20) MiB allowed",
                hint: "--memory allows more; a part of the text gives nearly the same vocabulary")
        case MR_ENCODER_TOO_LONG:
            throw Fault(.badData, "a pre-token of more than \(BytePairEncoder.pretokenLimit) bytes")
        default: throw Fault(.inputOutput, "out of memory while counting pre-tokens")
        }
    }

    public var uniquePretokens: Int { unsafe Int(mr_counter_unique(handle)) }
    public var pretokens: Int { unsafe Int(mr_counter_total(handle)) }

    /// The merges in order, until the vocabulary has `vocabularySize` ids or no pair comes up `leastCount` times.
    /// - Parameters:
    ///   - byteIds: the id of each byte: 256 ids from the lowest on without a hole.
    ///   - vocabularySize: the ids below the lowest byte's count as well.
    public func merges(
        byteIds: [UInt32], vocabularySize: Int, leastCount: Int
    ) throws(Fault) -> [BytePairVocabulary.Merge] {
        precondition(byteIds.count == 256 && vocabularySize <= BytePairVocabulary.idLimit)
        // A token that two merges lead to is one token and two merges; there are few of those.
        let capacity = 2 * vocabularySize + 1024
        var count: Int64 = 0
        // SAFETY: the function writes at most `capacity` merges, each of three u32 as the struct is, and says how many.
        let merges = unsafe [BytePairVocabulary.Merge](unsafeUninitializedCapacity: capacity) { buffer, initialized in
            count = unsafe byteIds.withUnsafeBufferPointer { ids in
                unsafe mr_train(
                    handle, ids.baseAddress, byteIds.min() ?? 0, UInt32(vocabularySize), UInt64(leastCount),
                    UnsafeMutableRawPointer(buffer.baseAddress!).bindMemory(to: UInt32.self, capacity: 3 * capacity),
                    capacity)
            }
            initialized = max(0, Int(count))
        }
        if count < 0 { throw Fault(.inputOutput, "out of memory while merging") }
        return merges
    }
}
