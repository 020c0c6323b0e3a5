// The one door through which datasets are read: bytes at an offset, of a file of known size. Everything that is read of a
// dataset is read by ranges (a frame, its document ends, the tables at the end of a shard), so a store of objects behind
// HTTP needs only these two protocols to stand where a directory does.

public import SystemPackage

/// Bytes that are read by offset, from any thread.
public protocol RangedSource: AnyObject, Sendable {
    /// What messages put in quotes.
    var name: String { get }
    /// Bytes, when it was opened.
    var size: Int { get }
    /// Exactly `count` bytes from `offset`.
    /// - Throws: `Fault` (bad data) when it ends before that.
    func read(at offset: Int, count: Int) throws(Fault) -> [UInt8]
}

extension RangedSource {
    /// All bytes, which must not be more than `limit`.
    public func readAll(limit: Int) throws(Fault) -> [UInt8] {
        if size > limit { throw .badData(name, "\(size) bytes, more than the \(limit) allowed") }
        return try read(at: 0, count: size)
    }
}

extension InputFile: RangedSource {}

/// A file in order, from a place on, up to the size it had when it was opened. Not for concurrent use.
public final class RangedByteSource: ByteSource {
    private let file: any RangedSource
    private var offset: Int
    private let end: Int
    public var name: String { file.name }

    /// - Parameter end: where to stop; nil: the end of the file.
    public init(_ file: any RangedSource, offset: Int, end: Int? = nil) {
        self.file = file
        self.offset = offset
        self.end = end ?? file.size
    }

    public func read(upTo count: Int) throws(Fault) -> [UInt8] {
        let bytes = try file.read(at: offset, count: min(count, end - offset))
        offset += bytes.count
        return bytes
    }
}

/// A flat set of files that can be opened by name.
public protocol FileStore: Sendable {
    /// What messages call the whole of it.
    var name: String { get }
    /// What messages call one file of it.
    func name(of file: String) -> String
    /// - Parameter file: one path component.
    /// - Throws: `Fault` (no input) when there is none of that name.
    func open(_ file: String) throws(Fault) -> any RangedSource
}

/// A directory of regular files.
public struct DirectoryStore: FileStore {
    private let path: FilePath

    public init(_ path: FilePath) { self.path = path }

    public var name: String { path.string }

    public func name(of file: String) -> String { path.appending(file).string }

    /// - Throws: also `Fault` (bad data) for a symbolic link, which might lead anywhere.
    public func open(_ file: String) throws(Fault) -> any RangedSource {
        let path = path.appending(file)
        if FileSystem.kind(of: path, followingLinks: false) == .symbolicLink {
            throw .badData(path.string, "expected a regular file, found a symbolic link")
        }
        return try InputFile(path)
    }
}
