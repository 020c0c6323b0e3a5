// Little-endian fields in and out of byte arrays, bounds-checked; every format of ours is little-endian.

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

    /// The largest of the integers that these bytes are, 0 of none; a remainder shorter than one is left out.
    @inlinable
    public func largest<Integer: FixedWidthInteger & UnsignedInteger & BitwiseCopyable>(_: Integer.Type) -> Integer {
        // SAFETY: every load lies inside the array; loads are unaligned.
        unsafe withUnsafeBytes { buffer in
            var largest: Integer = 0
            for index in 0..<buffer.count / MemoryLayout<Integer>.size {
                let value = unsafe buffer.loadUnaligned(
                    fromByteOffset: index * MemoryLayout<Integer>.size, as: Integer.self)
                largest = Swift.max(largest, value)
            }
            return largest
        }
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
