// The bytes of an array's elements as a span, for modules that use no unsafe constructs.

extension Array where Element: BitwiseCopyable {
    /// Hands the elements' bytes, as they lie in memory, to `body`.
    public func withRawSpan<Result>(_ body: (RawSpan) throws -> Result) rethrows -> Result {
        // SAFETY: numbers and bytes without padding (the only arrays that our formats hold) may be read byte by byte;
        // the span cannot outlive the call. Not `body(span.bytes)`: Swift 6.3.1 then frees a temporary array before the
        // body has run (CheckpointsTests' readsBackInPieces reads freed memory with it).
        try unsafe withUnsafeBytes { try unsafe body($0.bytes) }
    }
}
