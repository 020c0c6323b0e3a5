// A log that grows by whole lines: each write is one system call at the end of the file, so that a reader who follows
// it, or a kill, finds a torn line at the end at worst, and never a torn line in the middle.

public import SystemPackage

#if canImport(Glibc)
    private import Glibc
#elseif canImport(Musl)
    private import Musl
#else
    private import Darwin
#endif

/// A regular file that is only ever appended to. Closed when the last reference goes. Not for concurrent use.
public final class AppendFile: ByteSink {
    public let path: FilePath
    private let descriptor: FileDescriptor

    public var name: String { path.string }

    /// Opens the file, making an empty one when there is none.
    /// - Throws: `Fault` when a device, FIFO or directory is in its place, or it cannot be opened.
    public init(_ path: FilePath) throws(Fault) {
        self.path = path
        if let kind = FileSystem.kind(of: path), kind != .file {
            throw Fault(
                .cannotCreate, "cannot create \(quoted(path.string)): something that is no regular file is in its place"
            )
        }
        do {
            descriptor = try FileDescriptor.open(
                path, .writeOnly, options: [.create, .append, .closeOnExec],
                permissions: [.ownerReadWrite, .groupReadWrite, .otherReadWrite])
        } catch { throw .creating(path, error) }
    }

    deinit { try? descriptor.close() }

    /// Appends all of `bytes`, in one call unless the system takes less.
    public func write(_ bytes: [UInt8]) throws(Fault) {
        do {
            // SAFETY: the buffer lives for the call and is only read.
            _ = try unsafe bytes.withUnsafeBytes { unsafe try descriptor.writeAll($0) }
        } catch { throw .writing(name, error) }
    }

    /// Flushes what was written, and the directory that holds the name, to the disk.
    public func synchronize() throws(Fault) {
        if fsyncAll(descriptor.rawValue) != 0 { throw .writing(name, Errno(rawValue: errno)) }
        try FileSystem.synchronizeDirectory(path.parent)
    }
}
