// Whole or absent: a file is written beside its place under a temporary name, flushed to the disk, and renamed; the
// directory is flushed after it. A kill at any instant leaves the old file or the new one.

public import SystemPackage

#if canImport(Glibc)
    private import Glibc
#elseif canImport(Musl)
    private import Musl
#else
    private import Darwin
#endif

/// A file that appears under its name when `commit` returns, or never. One that is dropped before that removes what it
/// wrote. Not for concurrent use.
public final class AtomicFile: ByteSink {
    public let path: FilePath
    public private(set) var bytesWritten = 0
    private let temporary: FilePath
    private let descriptor: FileDescriptor
    private var isOpen = true

    public var name: String { path.string }

    /// - Parameter permissions: of the new file, less the umask.
    /// - Throws: `Fault` when the name is taken by a device, FIFO or directory, or the directory cannot be written.
    public init(
        _ path: FilePath, permissions: FilePermissions = [.ownerReadWrite, .groupReadWrite, .otherReadWrite]
    ) throws(Fault) {
        self.path = path
        if let kind = FileSystem.kind(of: path), kind != .file {
            throw Fault(
                .cannotCreate, "cannot create \(quoted(path.string)): something that is no regular file is in its place"
            )
        }
        temporary = FilePath(path.string + FileSystem.temporarySuffix())
        do {
            descriptor = try FileDescriptor.open(
                temporary, .writeOnly, options: [.create, .exclusiveCreate, .closeOnExec, .noFollow],
                permissions: permissions)
        } catch { throw .creating(path, error) }
    }

    deinit {
        if isOpen {
            try? descriptor.close()
            try? FileSystem.remove(temporary)
        }
    }

    public func write(_ bytes: [UInt8]) throws(Fault) {
        try PendingWrites.check()
        do {
            // SAFETY: the buffer lives for the call and is only read.
            bytesWritten += try unsafe bytes.withUnsafeBytes { unsafe try descriptor.writeAll($0) }
        } catch { throw .writing(name, error) }
    }

    public func write(_ bytes: RawSpan) throws(Fault) {
        try PendingWrites.check()
        do {
            // SAFETY: the buffer lives for the call and is only read.
            bytesWritten += try unsafe bytes.withUnsafeBytes { unsafe try descriptor.writeAll($0) }
        } catch { throw .writing(name, error) }
    }

    /// Replaces bytes that were written already: for a field near the beginning that is known only at the end.
    public func overwrite(_ bytes: [UInt8], at offset: Int) throws(Fault) {
        precondition(offset >= 0 && bytes.count <= bytesWritten - offset, "\(bytes.count) bytes at \(offset)")
        do {
            // SAFETY: the buffer lives for the call and is only read.
            _ = try unsafe bytes.withUnsafeBytes {
                unsafe try descriptor.writeAll(toAbsoluteOffset: Int64(offset), $0)
            }
        } catch { throw .writing(name, error) }
    }

    /// Flushes, closes and renames; with `durable` the directory is flushed too (leave that out only when the caller
    /// publishes a whole directory afterwards).
    public func commit(durable: Bool = true) throws(Fault) {
        precondition(isOpen, "\(path) is committed once")
        try PendingWrites.check()
        isOpen = false
        do {
            if fsyncAll(descriptor.rawValue) != 0 {
                let code = errno
                try? descriptor.close()
                throw Errno(rawValue: code)
            }
            try descriptor.close()
        } catch {
            // A failed fsync or close is final: what the kernel kept is unknown, so nothing is published. The
            // descriptor is gone after a failed close too; closing again could hit another thread's new file.
            try? FileSystem.remove(temporary)
            throw .writing(name, error)
        }
        do throws(Fault) {
            // A large file may have been flushed for a minute.
            try PendingWrites.check()
            try FileSystem.rename(temporary, to: path)
        } catch {
            try? FileSystem.remove(temporary)
            throw error
        }
        if durable { try FileSystem.synchronizeDirectory(path.parent) }
    }

    /// Writes `bytes` as the whole file at `path`.
    public static func write(_ bytes: [UInt8], to path: FilePath, durable: Bool = true) throws(Fault) {
        let file = try AtomicFile(path)
        try file.write(bytes)
        try file.commit(durable: durable)
    }
}

/// A directory that appears under its name when `commit` returns, or never. Fill `temporary` with `AtomicFile`s.
public final class AtomicDirectory {
    public let path: FilePath
    /// Where the content goes until it is published.
    public let temporary: FilePath
    private var isOpen = true

    /// - Throws: `Fault` when `path` exists already or its parent cannot be written.
    public init(_ path: FilePath) throws(Fault) {
        self.path = path
        if FileSystem.kind(of: path, followingLinks: false) != nil {
            throw Fault(.cannotCreate, "cannot create \(quoted(path.string)): it exists already")
        }
        try FileSystem.makeDirectory(path.parent)
        temporary = FilePath(path.string + FileSystem.temporarySuffix())
        try FileSystem.makeDirectory(temporary)
    }

    deinit { if isOpen { try? FileSystem.remove(temporary) } }

    /// Writes a file into `temporary` that `commit` makes durable: nothing here has to be whole before the directory is.
    /// - Returns: a sink for the content; call `close` on it.
    public func file(_ name: String) throws(Fault) -> PlainFile { try PlainFile(temporary.appending(name)) }

    /// - Parameter flushingFiles: also flushes what `file` and links put into `temporary`. Leave it out when every file
    ///   in it came by `AtomicFile.commit`.
    public func commit(flushingFiles: Bool = false) throws(Fault) {
        precondition(isOpen, "\(path) is committed once")
        if flushingFiles, try !FileSystem.synchronizeFileSystem(holding: temporary) {
            for name in try FileSystem.list(temporary) { try PlainFile.synchronize(temporary.appending(name)) }
        }
        try FileSystem.synchronizeDirectory(temporary)
        try PendingWrites.check()
        try FileSystem.rename(temporary, to: path)
        isOpen = false
        try FileSystem.synchronizeDirectory(path.parent)
    }
}
