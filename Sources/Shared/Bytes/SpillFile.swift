// Room on the disk for what does not fit into memory for a while. The file has no name: it is unlinked as soon as it is
// open, so that nothing can be left behind, whether the process succeeds, fails or is killed.

public import SystemPackage

#if canImport(Glibc)
    private import Glibc
#elseif canImport(Musl)
    private import Musl
#else
    private import Darwin
#endif

/// A nameless temporary file: append at the end, read anywhere. Not for concurrent use.
public final class SpillFile {
    /// What messages put in quotes.
    public let name: String
    /// Bytes in it.
    public private(set) var size = 0
    private let descriptor: FileDescriptor

    /// What the name begins with that it has for an instant; it ends in `.tmp`.
    package static let prefix = "spill."

    /// - Parameter directory: on the file system that has the room.
    public init(in directory: FilePath) throws(Fault) {
        let path = directory.appending("spill" + FileSystem.temporarySuffix())
        name = "temporary file in " + directory.string
        do {
            descriptor = try FileDescriptor.open(
                path, .readWrite, options: [.create, .exclusiveCreate, .closeOnExec, .noFollow],
                permissions: .ownerReadWrite)
        } catch { throw .creating(path, error) }
        do {
            try FileSystem.remove(path)
        } catch {
            try? descriptor.close()
            throw error
        }
    }

    deinit { try? descriptor.close() }

    /// Writes `bytes` behind what is there.
    /// - Returns: where they begin.
    @discardableResult
    public func append(_ bytes: [UInt8]) throws(Fault) -> Int {
        let begin = size
        do {
            // SAFETY: the buffer lives for the call and is only read.
            size += try unsafe bytes.withUnsafeBytes { unsafe try descriptor.writeAll($0) }
        } catch { throw .writing(name, error) }
        return begin
    }

    /// Exactly `count` bytes from `offset`, which must have been written.
    public func read(at offset: Int, count: Int) throws(Fault) -> [UInt8] {
        precondition(offset >= 0 && count >= 0 && offset + count <= size, "\(count) bytes at \(offset) of \(size)")
        var failure: Fault?
        // SAFETY: pread writes at most the bytes of the buffer it is given; `initialized` counts what it wrote.
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            initialized = 0
            while initialized < count {
                do {
                    let rest = unsafe UnsafeMutableRawBufferPointer(
                        rebasing: UnsafeMutableRawBufferPointer(buffer)[initialized..<count])
                    let got = try unsafe descriptor.read(fromAbsoluteOffset: Int64(offset + initialized), into: rest)
                    if got == 0 {
                        failure = .badData(name, byte: offset + initialized, "the file has shrunk while it was used")
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

    /// Forgets what is in it and gives the room back.
    public func removeAll() throws(Fault) {
        if size == 0 { return }
        if ftruncate(descriptor.rawValue, 0) != 0 { throw .writing(name, Errno(rawValue: errno)) }
        do { try descriptor.seek(offset: 0, from: .start) } catch { throw .writing(name, error) }
        size = 0
    }
}
