// The two loops over text that every byte of a corpus goes through, at the speed of memory.

private import CKernels

#if canImport(Glibc)
    private import Glibc
#elseif canImport(Musl)
    private import Musl
#else
    private import Darwin
#endif

extension [UInt8] {
    /// Asks the processor to bring these bytes into its caches; returns at once. A hint: nothing can go wrong.
    public func prefetch(_ range: Range<Int>) {
        precondition(0 <= range.lowerBound && range.upperBound <= count, "bytes \(range) of \(count)")
        // SAFETY: the range lies inside the array, and is not even read.
        unsafe withUnsafeBytes { buffer in
            if let base = buffer.baseAddress { unsafe mr_prefetch(base + range.lowerBound, range.count) }
        }
    }

    /// Where `byte` stands first, at or after `start`; nil when it does not.
    package func firstIndex(of byte: UInt8, from start: Int) -> Int? {
        precondition(0 <= start && start <= count, "start \(start) of \(count) bytes")
        // SAFETY: memchr reads count - start bytes from start, all inside the array.
        return unsafe withUnsafeBytes { buffer in
            guard start < buffer.count, let base = buffer.baseAddress,
                let found = unsafe memchr(base + start, Int32(byte), buffer.count - start)
            else { return nil }
            return unsafe UnsafeRawPointer(found) - base
        }
    }

    /// Each byte as a little-endian u16.
    package var widened: [UInt8] {
        // SAFETY: 2 × count bytes are written into storage of that size, two for each byte that is read.
        unsafe [UInt8](unsafeUninitializedCapacity: 2 * count) { buffer, initialized in
            unsafe withUnsafeBufferPointer { source in
                for index in 0..<source.count {
                    unsafe buffer[2 * index] = source[index]
                    unsafe buffer[2 * index + 1] = 0
                }
            }
            initialized = 2 * count
        }
    }
}
