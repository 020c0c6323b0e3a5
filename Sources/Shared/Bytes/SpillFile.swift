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

    /// In $TMPDIR or /tmp.
    public convenience init() throws(Fault) {
        try self.init(in: FilePath(Host.environment("TMPDIR").flatMap { $0.isEmpty ? nil : $0 } ?? "/tmp"))
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
        return try descriptor.read(exactly: count, at: offset, name: name)
    }

    /// Forgets what is in it and gives the room back.
    public func removeAll() throws(Fault) {
        if size == 0 { return }
        if ftruncate(descriptor.rawValue, 0) != 0 { throw .writing(name, Errno(rawValue: errno)) }
        do { try descriptor.seek(offset: 0, from: .start) } catch { throw .writing(name, error) }
        size = 0
    }
}
