// Independent zstd frames (RFC 8878) with content checksum and content size, through libzstd's stable API.

private import CZstd

/// Compresses whole frames at one level; keeps libzstd's working memory between frames. One per thread.
@safe
public final class ZstdCompressor {
    // SAFETY: owned, made in init, freed in deinit, used by one thread at a time (the class is not Sendable).
    private let context: OpaquePointer

    /// - Parameter level: 1 (fast) to 19 (small); the format's default is 3.
    public init(level: Int) {
        guard let context = unsafe ZSTD_createCCtx() else { preconditionFailure("zstd: out of memory") }
        unsafe self.context = context
        unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, Int32(clamping: level))
        unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1)
        unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 1)
    }

    deinit { unsafe ZSTD_freeCCtx(context) }

    /// One frame that decodes to `bytes`.
    public func frame(of bytes: RawSpan) -> [UInt8] {
        let bound = ZSTD_compressBound(bytes.byteCount)
        // SAFETY: libzstd writes at most `bound` bytes and returns how many; with that bound it cannot fail.
        return unsafe bytes.withUnsafeBytes { source in
            unsafe [UInt8](unsafeUninitializedCapacity: bound) { buffer, initialized in
                let count = unsafe ZSTD_compress2(context, buffer.baseAddress, bound, source.baseAddress, source.count)
                precondition(ZSTD_isError(count) == 0, "zstd: \(unsafe String(cString: ZSTD_getErrorName(count)))")
                initialized = count
            }
        }
    }

    public func frame(of bytes: [UInt8]) -> [UInt8] { bytes.withRawSpan { frame(of: $0) } }
}

/// Decompresses whole frames. One per thread.
@safe
public final class ZstdDecompressor {
    private let context: OpaquePointer

    /// Windows above 2^27 bytes (the zstd program's own limit) are refused.
    public init() {
        guard let context = unsafe ZSTD_createDCtx() else { preconditionFailure("zstd: out of memory") }
        unsafe self.context = context
        unsafe ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, 27)
    }

    deinit { unsafe ZSTD_freeDCtx(context) }

    /// Why a frame was refused; the caller knows file, frame and byte.
    public struct Failure: Error, Sendable, CustomStringConvertible {
        public let description: String
    }

    /// The content of one frame, which must be exactly `count` bytes and carry a checksum. Output never exceeds
    /// `count`, whatever the frame says.
    public func decode(_ frame: ArraySlice<UInt8>, count: Int) throws(Failure) -> [UInt8] {
        try [UInt8](capacity: count) { (output: inout OutputSpan<UInt8>) throws(Failure) in
            try decode(frame, count: count, to: &output)
        }
    }

    /// The same behind what `output` holds, which has room for `count` bytes more: no copy is made of the content.
    public func decode(
        _ frame: ArraySlice<UInt8>, count: Int, to output: inout OutputSpan<UInt8>
    ) throws(Failure) {
        precondition(count <= output.freeCapacity, "\(count) bytes of a frame in room for \(output.freeCapacity)")
        // Frame header descriptor (RFC 8878, 3.1.1.1.1): bit 2 says that a content checksum follows the blocks.
        let start = frame.startIndex
        guard frame.count >= 5, frame[start] == 0x28, frame[start + 1] == 0xb5, frame[start + 2] == 0x2f,
            frame[start + 3] == 0xfd
        else { throw Failure(description: "not a zstd frame") }
        guard frame[start + 4] & 4 != 0 else { throw Failure(description: "zstd frame without a checksum") }
        var failure: Failure?
        // SAFETY: libzstd writes at most `count` bytes, which lie behind the initialized ones and inside the buffer, and
        // returns how many.
        unsafe output.withUnsafeMutableBufferPointer { buffer, initialized in
            unsafe frame.withUnsafeBytes { source in
                let result = unsafe ZSTD_decompressDCtx(
                    context, buffer.baseAddress.map { unsafe $0 + initialized }, count, source.baseAddress,
                    source.count)
                if ZSTD_isError(result) != 0 {
                    failure = Failure(description: unsafe String(cString: ZSTD_getErrorName(result)))
                } else if result != count {
                    failure = Failure(description: "expected \(count) bytes of content, found \(result)")
                } else {
                    initialized += result
                }
            }
        }
        if let failure { throw failure }
    }

    /// The sizes of the frame that `bytes` begin with, by its own headers, without decoding it: nil when it is no zstd frame,
    /// does not state the size of its content, or `bytes` end inside it.
    public static func frameSize(_ bytes: ArraySlice<UInt8>) -> (compressed: Int, content: Int)? {
        guard Array(bytes.prefix(4)) == [0x28, 0xb5, 0x2f, 0xfd] else { return nil }
        // SAFETY: libzstd reads inside the buffer, which lives for the calls.
        return unsafe bytes.withUnsafeBytes { source in
            let compressed = unsafe ZSTD_findFrameCompressedSize(source.baseAddress, source.count)
            // Errors and "unknown" are the largest values of 64 bits.
            let content = unsafe ZSTD_getFrameContentSize(source.baseAddress, source.count)
            guard ZSTD_isError(compressed) == 0, let content = Int(exactly: content) else { return nil }
            return (compressed, content)
        }
    }
}
