// One holder at a time, for as long as a process lives: an advisory lock on an open file (flock(2)). The system lets go
// of it when the holder dies, however it dies, so there is no stale lock to explain away.

public import SystemPackage

#if canImport(Glibc)
    private import Glibc
#elseif canImport(Musl)
    private import Musl
#else
    private import Darwin
#endif

/// A lock on a file, held until the last reference goes or the process ends. The file stays where it is, unless `removeFile`
/// is called.
public final class FileLock: Sendable {
    public let path: FilePath
    private let descriptor: FileDescriptor
    /// Whether the file was made for this lock.
    public let isNew: Bool

    /// Takes the lock at once or says who has it; makes the file if need be.
    /// - Parameter subject: what the lock guards, for the message (`'runs/a'` is in use by process 4711).
    /// - Throws: `Fault` (cannot create) when another process holds it or the file cannot be opened.
    public init(_ path: FilePath, subject: String) throws(Fault) {
        self.path = path
        while true {
            let (descriptor, isNew) = try FileLock.open(path)
            while flock(descriptor.rawValue, LOCK_EX | LOCK_NB) != 0 {
                let code = errno
                if code == EINTR { continue }
                let holder = FileLock.holder(descriptor)
                try? descriptor.close()
                if code != EWOULDBLOCK { throw .creating(path, Errno(rawValue: code)) }
                throw FileLock.isTaken(subject, by: holder)
            }
            // Its last holder may have removed the file between our opening and locking it: a lock on what nobody else
            // will open guards nothing.
            if FileLock.stands(descriptor, at: path) {
                (self.descriptor, self.isNew) = (descriptor, isNew)
                break
            }
            try? descriptor.close()
        }
        // The content only serves the message above; a full disk must not keep a run from starting.
        _ = ftruncate(descriptor.rawValue, 0)
        _ = try? descriptor.writeAll(toAbsoluteOffset: 0, "\(getpid())\n".utf8)
    }

    /// Takes the lock of a directory itself, which leaves no file behind. A file system that cannot lock directories (NFS)
    /// gives no protection and no error.
    /// - Throws: `Fault` (cannot create) when another process holds it or the directory cannot be opened.
    public init(directory path: FilePath) throws(Fault) {
        self.path = path
        isNew = false
        do {
            descriptor = try FileDescriptor.open(path, .readOnly, options: [.directory, .closeOnExec])
        } catch { throw .creating(path, error) }
        while flock(descriptor.rawValue, LOCK_EX | LOCK_NB) != 0 {
            if errno == EINTR { continue }
            if errno != EWOULDBLOCK { break }
            try? descriptor.close()
            throw FileLock.isTaken(path.string, by: "another process")
        }
    }

    deinit {
        // Not by the close alone: a child that this process is just starting has a copy of the descriptor until it becomes
        // another program, and would keep the lock.
        _ = flock(descriptor.rawValue, LOCK_UN)
        try? descriptor.close()
    }

    /// Removes the lock's file, which is still locked while it goes.
    package func removeFile() {
        if FileLock.stands(descriptor, at: path) { try? FileSystem.remove(path) }
    }

    private static func open(_ path: FilePath) throws(Fault) -> (FileDescriptor, isNew: Bool) {
        while true {
            do {
                return (
                    try FileDescriptor.open(
                        path, .readWrite, options: [.create, .exclusiveCreate, .closeOnExec, .noFollow],
                        permissions: [.ownerReadWrite, .groupReadWrite, .otherReadWrite]), true
                )
            } catch { if error as? Errno != .fileExists { throw .creating(path, error) } }
            do {
                return (try FileDescriptor.open(path, .readWrite, options: [.closeOnExec, .noFollow]), false)
            } catch { if error as? Errno != .noSuchFileOrDirectory { throw .creating(path, error) } }
        }
    }

    /// Whether an open file is the one that a path names.
    private static func stands(_ descriptor: FileDescriptor, at path: FilePath) -> Bool {
        var status = stat()
        // SAFETY: fstat fills the struct.
        guard unsafe fstat(descriptor.rawValue, &status) == 0, let found = FileSystem.identity(of: path) else {
            return false
        }
        return found.device == UInt64(status.st_dev) && found.node == UInt64(status.st_ino)
    }

    private static func isTaken(_ subject: String, by holder: String) -> Fault {
        Fault(
            .cannotCreate, "\(quoted(subject)) is in use by \(holder)",
            hint: "wait until it ends or stop it; the lock goes with its process")
    }

    private static func holder(_ descriptor: FileDescriptor) -> String {
        var text = ""
        for offset in 0..<20 {
            let byte = unsafe withUnsafeTemporaryAllocation(byteCount: 1, alignment: 1) { buffer -> UInt8? in
                // SAFETY: at most one byte is read into the one byte there is.
                let count = try? unsafe descriptor.read(fromAbsoluteOffset: Int64(offset), into: buffer)
                return count == 1 ? unsafe buffer[0] : nil
            }
            guard let byte, byte >= 0x30, byte <= 0x39 else { break }
            text.unicodeScalars.append(Unicode.Scalar(byte))
        }
        return text.isEmpty ? "another process" : "process \(text)"
    }
}
