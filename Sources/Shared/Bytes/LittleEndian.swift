// Little-endian fields in and out of byte arrays, bounds-checked; every format of ours is little-endian.

private import CKernels

#if _endian(big)
    #error("the formats are little-endian and are copied as they lie in memory")
#endif

extension [UInt8] {
    /// Appends the bytes of `value`, least significant first.
    @inlinable
    public mutating func append<Integer: FixedWidthInteger>(littleEndian value: Integer) {
        for shift in stride(from: 0, to: Integer.bitWidth, by: 8) { append(UInt8(truncatingIfNeeded: value >> shift)) }
    }

    /// Appends every element of `values` as it lies in memory.
    public mutating func append<Integer: FixedWidthInteger & BitwiseCopyable>(littleEndian values: [Integer]) {
        // SAFETY: integers are trivial; their bytes may be read.
        unsafe values.withUnsafeBytes { unsafe append(contentsOf: $0) }
    }

    /// The integer at `offset`, or nil when it would end after the array.
    public func littleEndian<Integer: FixedWidthInteger & BitwiseCopyable>(
        at offset: Int, as type: Integer.Type = Integer.self
    ) -> Integer? {
        let size = Integer.bitWidth / 8
        guard offset >= 0, offset <= count - size else { return nil }
        // SAFETY: offset + size ≤ count, checked above; the load is unaligned.
        return unsafe withUnsafeBytes { unsafe $0.loadUnaligned(fromByteOffset: offset, as: Integer.self) }
    }

    /// `count` integers from `offset`, or nil when they would end after the array.
    public func littleEndianArray<Integer: FixedWidthInteger & BitwiseCopyable>(
        at offset: Int, count elements: Int, as type: Integer.Type = Integer.self
    ) -> [Integer]? {
        let (size, overflow) = elements.multipliedReportingOverflow(by: Integer.bitWidth / 8)
        guard elements >= 0, !overflow, offset >= 0, offset <= count, size <= count - offset else { return nil }
        return [Integer](littleEndianBytes: self[offset..<offset + size])
    }
}

extension Array where Element: FixedWidthInteger & BitwiseCopyable {
    /// The integers whose bytes these are; a remainder shorter than an integer is a programmer's slip.
    public init(littleEndianBytes bytes: ArraySlice<UInt8>) {
        let size = Element.bitWidth / 8
        precondition(bytes.count % size == 0, "\(bytes.count) bytes are no whole number of \(size)-byte integers")
        // SAFETY: exactly count × size bytes are copied into trivial storage of that size.
        unsafe self.init(unsafeUninitializedCapacity: bytes.count / size) { buffer, initialized in
            unsafe bytes.withUnsafeBytes { source in
                if let base = source.baseAddress {
                    unsafe UnsafeMutableRawBufferPointer(buffer).baseAddress!.copyMemory(
                        from: base, byteCount: source.count)
                }
            }
            initialized = bytes.count / size
        }
    }

    /// The bytes of the elements as they lie in memory.
    public var littleEndianBytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(littleEndian: self)
        return bytes
    }
}

extension OutputSpan<UInt8> {
    /// Appends `bytes`, for which there must be room.
    public mutating func append(_ bytes: ArraySlice<UInt8>) {
        precondition(bytes.count <= freeCapacity, "\(bytes.count) bytes in room for \(freeCapacity)")
        // SAFETY: exactly the bytes' count is written behind the initialized ones, inside the buffer.
        unsafe withUnsafeMutableBufferPointer { buffer, initialized in
            unsafe bytes.withUnsafeBytes { source in
                if let from = source.baseAddress, let to = buffer.baseAddress {
                    unsafe UnsafeMutableRawPointer(to + initialized).copyMemory(from: from, byteCount: source.count)
                }
            }
            initialized += bytes.count
        }
    }

    /// The largest of the unsigned integers of `width` bytes (2 or 4) that the bytes from `first` on are, 0 of none; a
    /// remainder shorter than one is left out.
    public func largest(from first: Int, width: Int) -> UInt32 {
        precondition(first >= 0 && first <= count, "byte \(first) of \(count)")
        precondition(width == 2 || width == 4, "integers of \(width) bytes")
        // SAFETY: the loop reads (count - first) / width integers from `first`, all inside the span.
        return unsafe span.withUnsafeBytes { buffer in
            guard let base = buffer.baseAddress else { return 0 }
            return unsafe mr_largest(base + first, (buffer.count - first) / width, Int32(width))
        }
    }
}
