// DEFLATE (RFC 1951) as a stream, without a head or a sum of its own: what members of zip archives are compressed with.

private import CZlib

/// Bytes that a DEFLATE stream decodes to. Not for concurrent use.
@safe
public final class DeflateSource: ByteSource {
    // SAFETY: allocated in init, freed in deinit, at a fixed address between, which zlib's state points back to; used by one
    // thread at a time (the class is not Sendable).
    private let stream: UnsafeMutablePointer<z_stream>
    private let source: RangedByteSource
    private var input: [UInt8] = []
    private var position = 0
    /// Where `input` begins in the file.
    private var base: Int
    private var isFinished = false

    public var name: String { source.name }

    /// What no stream decodes to more than, for each of its bytes: lengths of 258 in two bits each.
    public static let maximumRatio = 1032

    /// - Parameter range: where in `file` the stream lies; it must end with it.
    public init(_ file: any RangedSource, _ range: Range<Int>) {
        unsafe stream = .allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        // Negative bits of the window: neither zlib's nor gzip's head.
        let status = unsafe inflateInit2_(stream, -15, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        precondition(status == Z_OK, "zlib: out of memory")
        source = RangedByteSource(file, offset: range.lowerBound, end: range.upperBound)
        base = range.lowerBound
    }

    deinit {
        unsafe inflateEnd(stream)
        unsafe stream.deallocate()
    }

    /// - Throws: `Fault` (bad data) for what is no DEFLATE, or does not end where the range does.
    public func read(upTo count: Int) throws(Fault) -> [UInt8] {
        while !isFinished {
            if position == input.count {
                base += input.count
                input = try source.read(upTo: 1 << 17)
                position = 0
                if input.isEmpty { throw fault("the compressed bytes end too early") }
            }
            let bytes = try decode(upTo: count)
            if isFinished {
                let isLast = position == input.count ? try source.read(upTo: 1).isEmpty : false
                if !isLast { throw fault("the compressed bytes end here, and others follow") }
            }
            if !bytes.isEmpty { return bytes }
        }
        return []
    }

    private func fault(_ reason: String) -> Fault { .badData(name, byte: base + position, "deflate: \(reason)") }

    private func decode(upTo count: Int) throws(Fault) -> [UInt8] {
        var failure: String?
        // SAFETY: zlib reads inside `input` and writes inside the buffer, both of which outlive the call; it takes a pointer
        // to what it may change and does not.
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            unsafe input.withUnsafeBufferPointer { bytes in
                unsafe stream.pointee.next_in = UnsafeMutablePointer(
                    mutating: bytes.baseAddress.map { unsafe $0 + position })
                unsafe stream.pointee.avail_in = UInt32(bytes.count - position)
                unsafe stream.pointee.next_out = buffer.baseAddress
                unsafe stream.pointee.avail_out = UInt32(count)
                let status = unsafe inflate(stream, Z_NO_FLUSH)
                unsafe position = bytes.count - Int(stream.pointee.avail_in)
                unsafe initialized = count - Int(stream.pointee.avail_out)
                if status == Z_STREAM_END {
                    isFinished = true
                } else if status != Z_OK && status != Z_BUF_ERROR {
                    unsafe failure = stream.pointee.msg.map { unsafe String(cString: $0) } ?? "error \(status)"
                }
            }
        }
        if let failure { throw fault(failure) }
        return bytes
    }
}
