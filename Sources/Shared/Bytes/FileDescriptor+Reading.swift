// The loop around pread, for every file that is read by offset.

internal import SystemPackage

extension FileDescriptor {
    /// Exactly `count` bytes from `offset`.
    /// - Parameter name: of the file, for messages.
    /// - Throws: `Fault` (bad data) when the file ends before.
    func read(exactly count: Int, at offset: Int, name: String) throws(Fault) -> [UInt8] {
        var failure: Fault?
        // SAFETY: pread writes at most the bytes of the buffer it is given; `initialized` counts what it wrote.
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            initialized = 0
            while initialized < count {
                do {
                    let rest = unsafe UnsafeMutableRawBufferPointer(
                        rebasing: UnsafeMutableRawBufferPointer(buffer)[initialized..<count])
                    let got = try unsafe read(fromAbsoluteOffset: Int64(offset + initialized), into: rest)
                    if got == 0 {
                        failure = .badData(
                            name, byte: offset + initialized, "the file has shrunk while it was being read")
                        return
                    }
                    initialized += got
                } catch {
                    failure = .reading(name, error)
                    return
                }
            }
        }
        if let failure { throw failure }
        return bytes
    }
}
