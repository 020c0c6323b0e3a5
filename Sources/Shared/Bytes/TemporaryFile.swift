// Bytes that do not fit in memory and that nobody else may see: a file whose name is gone as soon as it is open, so that
// not even a kill leaves it behind.

internal import SystemPackage

#if canImport(Glibc)
    private import Glibc
#elseif canImport(Musl)
    private import Musl
#else
    private import Darwin
#endif

/// A file without a name, in $TMPDIR or /tmp. Not for concurrent use.
public final class TemporaryFile {
    public private(set) var size = 0
    private let descriptor: FileDescriptor
    private let name: String

    /// - Throws: `Fault` (cannot create).
    public init() throws(Fault) {
        let directory = Host.environment("TMPDIR").flatMap { $0.isEmpty ? nil : $0 } ?? "/tmp"
        let path = FilePath(directory).appending("millrace" + FileSystem.temporarySuffix())
        name = path.string
        do {
            descriptor = try FileDescriptor.open(
                path, .readWrite, options: [.create, .exclusiveCreate, .closeOnExec, .noFollow],
                permissions: [.ownerReadWrite])
        } catch { throw .creating(path, error) }
        try FileSystem.remove(path)
    }

    deinit { try? descriptor.close() }

    public func append(_ bytes: [UInt8]) throws(Fault) {
        do {
            // SAFETY: the buffer lives for the call and is only read.
            size += try unsafe bytes.withUnsafeBytes {
                unsafe try descriptor.writeAll(toAbsoluteOffset: Int64(size), $0)
            }
        } catch { throw .writing(name, error) }
    }

    /// Exactly `count` bytes from `offset`, which were appended before.
    public func read(at offset: Int, count: Int) throws(Fault) -> [UInt8] {
        precondition(offset >= 0 && count >= 0 && offset + count <= size, "\(offset) + \(count) of \(size) bytes")
        var failure: Fault?
        // SAFETY: pread writes at most the bytes of the buffer it is given; `initialized` counts what it wrote.
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            initialized = 0
            while initialized < count && failure == nil {
                do {
                    let rest = unsafe UnsafeMutableRawBufferPointer(
                        rebasing: UnsafeMutableRawBufferPointer(buffer)[initialized..<count])
                    let got = try unsafe descriptor.read(fromAbsoluteOffset: Int64(offset + initialized), into: rest)
                    if got == 0 { failure = .badData(name, byte: offset + initialized, "the file has shrunk") }
                    initialized += got
                } catch { failure = .reading(name, error) }
            }
        }
        if let failure { throw failure }
        return bytes
    }
}
