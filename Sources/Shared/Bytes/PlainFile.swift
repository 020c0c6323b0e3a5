// A new file inside a directory that is not published yet: its name need not be won, nor its bytes be flushed one file at
// a time, because `AtomicDirectory.commit` does both for all of them. With a flush a file, merging 100,000 shards would
// take minutes.

package import SystemPackage

#if canImport(Glibc)
    private import Glibc
#elseif canImport(Musl)
    private import Musl
#else
    private import Darwin
#endif

/// A file being written. Not for concurrent use.
public final class PlainFile: ByteSink {
    private let path: FilePath
    private let descriptor: FileDescriptor
    private var isOpen = true
    public var name: String { path.string }
    public private(set) var bytesWritten = 0

    /// - Throws: `Fault` when something stands at `path` already or it cannot be made.
    init(_ path: FilePath) throws(Fault) {
        self.path = path
        do {
            descriptor = try FileDescriptor.open(
                path, .writeOnly, options: [.create, .exclusiveCreate, .closeOnExec, .noFollow],
                permissions: [.ownerReadWrite, .groupReadWrite, .otherReadWrite])
        } catch { throw .creating(path, error) }
    }

    deinit { if isOpen { try? descriptor.close() } }

    public func write(_ bytes: [UInt8]) throws(Fault) {
        try PendingWrites.check()
        do {
            // SAFETY: the buffer lives for the call and is only read.
            bytesWritten += try unsafe bytes.withUnsafeBytes { unsafe try descriptor.writeAll($0) }
        } catch { throw .writing(name, error) }
    }

    /// Closes the file; an error here is a failed write.
    public func close() throws(Fault) {
        isOpen = false
        do { try descriptor.close() } catch { throw .writing(name, error) }
    }

    /// Flushes one file.
    package static func synchronize(_ path: FilePath) throws(Fault) {
        do {
            let descriptor = try FileDescriptor.open(path, .readOnly, options: .closeOnExec)
            let result = fsyncAll(descriptor.rawValue)
            let code = errno
            try descriptor.close()
            if result != 0 { throw Errno(rawValue: code) }
        } catch { throw .writing(path.string, error) }
    }
}
