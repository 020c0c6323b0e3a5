// zstd as a stream, for files of other programs: frames of any size, with or without a checksum, read and written with the
// memory of one window. What such a file decodes to is capped by the caller, because a few hundred kilobytes can decode to
// ten gigabytes, and the window by 2^27 bytes, because a frame may ask for any.

private import CZstd

/// Bytes that a source of zstd frames decodes to. Not for concurrent use.
@safe
public final class ZstdSource: ByteSource {
    // SAFETY: owned, made in init, freed in deinit, used by one thread at a time (the class is not Sendable).
    private let context: OpaquePointer
    private let source: any ByteSource
    private let limit: Int
    private var input: [UInt8] = []
    private var position = 0
    /// Compressed bytes before `input`.
    private var base = 0
    private var decoded = 0
    /// What libzstd still wants of the current frame; 0 between frames.
    private var wanted = 0
    private var isExhausted = false

    public var name: String { source.name }

    /// - Parameter limit: bytes that the frames may decode to in all.
    public init(_ source: any ByteSource, limit: Int) {
        guard let context = unsafe ZSTD_createDCtx() else { preconditionFailure("zstd: out of memory") }
        unsafe self.context = context
        unsafe ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, 27)
        self.source = source
        self.limit = limit
    }

    deinit { unsafe ZSTD_freeDCtx(context) }

    /// - Throws: `Fault` (bad data) for what is no zstd, is cut short, asks for a larger window or decodes to more than
    ///   the limit.
    public func read(upTo count: Int) throws(Fault) -> [UInt8] {
        while true {
            if position == input.count && !isExhausted {
                base += input.count
                input = try source.read(upTo: 1 << 17)
                position = 0
                isExhausted = input.isEmpty
            }
            if isExhausted && wanted == 0 { return [] }
            let bytes = try decode(upTo: count)
            if !bytes.isEmpty {
                decoded += bytes.count
                if decoded > limit {
                    throw .badData(name, byte: base + position, "expected \(limit) bytes of content, found more")
                }
                return bytes
            }
            if isExhausted {
                throw .badData(
                    name, byte: base, "the file ends inside a zstd frame", hint: "the file was cut short: copy it again"
                )
            }
        }
    }

    private func decode(upTo count: Int) throws(Fault) -> [UInt8] {
        var failure: String?
        // SAFETY: libzstd writes at most `count` bytes into the buffer and reads inside `input`; both outlive the call.
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            unsafe input.withUnsafeBytes { bytes in
                var from = unsafe ZSTD_inBuffer(src: bytes.baseAddress, size: bytes.count, pos: position)
                var to = unsafe ZSTD_outBuffer(dst: buffer.baseAddress, size: count, pos: 0)
                let result = unsafe ZSTD_decompressStream(context, &to, &from)
                if ZSTD_isError(result) != 0 {
                    failure = unsafe String(cString: ZSTD_getErrorName(result))
                } else {
                    wanted = result
                }
                unsafe position = from.pos
                unsafe initialized = to.pos
            }
        }
        if let failure { throw .badData(name, byte: base + position, "zstd: \(failure)") }
        return bytes
    }
}

/// Writes one zstd frame with a content checksum into a sink. `finish` must be called. Not for concurrent use.
@safe
public final class ZstdSink: ByteSink {
    // SAFETY: as above.
    private let context: OpaquePointer
    private let sink: any ByteSink
    public var name: String { sink.name }

    /// - Parameters:
    ///   - level: 1 (fast) to 19 (small).
    ///   - size: bytes that will be written, which the frame then says; readers allocate by it.
    public init(_ sink: any ByteSink, level: Int, size: Int) {
        guard let context = unsafe ZSTD_createCCtx() else { preconditionFailure("zstd: out of memory") }
        unsafe self.context = context
        unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, Int32(clamping: level))
        unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1)
        unsafe ZSTD_CCtx_setPledgedSrcSize(context, UInt64(size))
        self.sink = sink
    }

    deinit { unsafe ZSTD_freeCCtx(context) }

    public func write(_ bytes: [UInt8]) throws {
        var position = 0
        while position < bytes.count { position = try step(bytes, from: position, end: false).position }
    }

    /// Ends the frame; what was written must be what was promised.
    public func finish() throws { while try step([], from: 0, end: true).left > 0 {} }

    private func step(_ bytes: [UInt8], from start: Int, end: Bool) throws -> (position: Int, left: Int) {
        var result = (position: start, left: 0)
        let capacity = 1 << 17
        // SAFETY: as above.
        let output = unsafe [UInt8](unsafeUninitializedCapacity: capacity) { buffer, initialized in
            unsafe bytes.withUnsafeBytes { source in
                var from = unsafe ZSTD_inBuffer(src: source.baseAddress, size: source.count, pos: start)
                var to = unsafe ZSTD_outBuffer(dst: buffer.baseAddress, size: capacity, pos: 0)
                let left = unsafe ZSTD_compressStream2(context, &to, &from, end ? ZSTD_e_end : ZSTD_e_continue)
                precondition(ZSTD_isError(left) == 0, "zstd: \(unsafe String(cString: ZSTD_getErrorName(left)))")
                unsafe result = (from.pos, left)
                unsafe initialized = to.pos
            }
        }
        if !output.isEmpty { try sink.write(output) }
        return result
    }
}
