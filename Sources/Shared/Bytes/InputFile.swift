// A regular file read by offset. Nothing is mapped: a mapping of a file that shrinks ends in SIGBUS, a short pread ends
// in an error that names the byte.

public import SystemPackage

#if canImport(Glibc)
    private import Glibc
#elseif canImport(Musl)
    private import Musl
#else
    private import Darwin
#endif

/// An open file of known size for reads at any offset, from any thread. Closed when the last reference goes.
public final class InputFile: Sendable {
    public let path: FilePath
    /// Bytes when it was opened.
    public let size: Int
    private let descriptor: FileDescriptor

    /// The name that messages put in quotes.
    public var name: String { path.string }

    /// - Throws: `Fault`: no such file, not a regular file.
    public init(_ path: FilePath) throws(Fault) {
        self.path = path
        do {
            // Without waiting: a FIFO would open when somebody writes to it, which may be never. What stands at the path
            // is asked of what was opened, because it may be replaced in between.
            descriptor = try FileDescriptor.open(path, .readOnly, options: [.closeOnExec, .nonBlocking])
        } catch { throw .opening(path, error) }
        var status = stat()
        // SAFETY: fstat fills the struct that it is given.
        if unsafe fstat(descriptor.rawValue, &status) != 0 {
            let code = errno
            try? descriptor.close()
            throw .opening(path, Errno(rawValue: code))
        }
        if status.st_mode & S_IFMT != S_IFREG {
            try? descriptor.close()
            throw Fault(.noInput, "cannot open \(quoted(path.string)): not a regular file")
        }
        size = Int(status.st_size)
        // A file system of its own may take the flag seriously.
        _ = fcntl(descriptor.rawValue, F_SETFL, 0)
    }

    deinit { try? descriptor.close() }

    /// Exactly `count` bytes from `offset`.
    /// - Throws: `Fault` (bad data) when the file ends before, also when it has shrunk since it was opened.
    public func read(at offset: Int, count: Int) throws(Fault) -> [UInt8] {
        guard offset >= 0, count >= 0, offset <= size, count <= size - offset else {
            throw .badData(name, byte: size, "expected \(count) bytes at byte \(offset), found the end of the file")
        }
        return try descriptor.read(exactly: count, at: offset, name: name)
    }

    /// SHA-256 of the whole file, read in pieces of 1 MiB.
    public func digest() throws(Fault) -> Digest {
        var hasher = DigestHasher()
        var offset = 0
        while offset < size {
            let piece = try read(at: offset, count: min(1 << 20, size - offset))
            hasher.update(piece)
            offset += piece.count
        }
        return hasher.finish()
    }
}
