// The few questions and changes that the formats need of a file system, each telling failure apart from absence.

public import SystemPackage

#if canImport(Glibc)
    private import Glibc
#elseif canImport(Musl)
    private import Musl
#else
    private import Darwin
#endif

public enum FileSystem {
    public enum Kind: Sendable { case file, directory, symbolicLink, other }

    /// What stands at `path`, links followed unless `followingLinks` is false; nil when nothing does.
    public static func kind(of path: FilePath, followingLinks: Bool = true) -> Kind? {
        var status = stat()
        // SAFETY: the path is a C string for the call; stat fills the struct.
        let result = unsafe path.withPlatformString {
            unsafe followingLinks ? stat($0, &status) : lstat($0, &status)
        }
        if result != 0 { return nil }
        switch status.st_mode & S_IFMT {
        case S_IFREG: return .file
        case S_IFDIR: return .directory
        case S_IFLNK: return .symbolicLink
        default: return .other
        }
    }

    /// Bytes of a regular file that is no symbolic link; nil for anything else.
    public static func size(of path: FilePath) -> Int? {
        var status = stat()
        // SAFETY: the path is a C string for the call; lstat fills the struct.
        let result = unsafe path.withPlatformString { unsafe lstat($0, &status) }
        return result == 0 && status.st_mode & S_IFMT == S_IFREG ? Int(status.st_size) : nil
    }

    /// The names in a directory except `.` and `..`, sorted by their bytes.
    public static func list(_ path: FilePath) throws(Fault) -> [String] {
        // SAFETY: opendir's handle is used and closed here; each entry is read before the next readdir.
        guard let directory = unsafe path.withPlatformString({ unsafe opendir($0) }) else {
            throw .opening(path, Errno(rawValue: errno))
        }
        defer { unsafe closedir(directory) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = unsafe readdir(directory) else {
                if errno != 0 { throw .reading(path.string, Errno(rawValue: errno)) }
                break
            }
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
                unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    /// Makes the directory and its missing parents; one that exists is fine.
    /// - Returns: those that were made, the outermost first.
    @discardableResult
    public static func makeDirectory(_ path: FilePath) throws(Fault) -> [FilePath] {
        if path.isEmpty || kind(of: path) == .directory { return [] }
        let parent = path.removingLastComponent()
        var made: [FilePath] = []
        if !parent.isEmpty && parent != path { made = try makeDirectory(parent) }
        // SAFETY: a C string for the call.
        let result = unsafe path.withPlatformString { unsafe mkdir($0, 0o777) }
        if result != 0 && errno != EEXIST { throw .creating(path, Errno(rawValue: errno)) }
        if result == 0 { made.append(path) }
        if kind(of: path) != .directory { throw .creating(path, Errno.notDirectory) }
        try synchronizeDirectory(path.parent)
        return made
    }

    /// Flushes a directory's entries to the disk.
    public static func synchronizeDirectory(_ path: FilePath) throws(Fault) {
        do {
            let descriptor = try FileDescriptor.open(path, .readOnly, options: [.directory, .closeOnExec])
            let result = fsyncAll(descriptor.rawValue)
            let code = errno
            try descriptor.close()
            // Some file systems have no fsync for directories and say EINVAL; they order renames by themselves.
            if result != 0 && code != EINVAL { throw Errno(rawValue: code) }
        } catch {
            throw Fault(
                .inputOutput,
                "written, durability unconfirmed: fsync of directory \(quoted(path.string)): \(Fault.reason(of: error))"
            )
        }
    }

    public static func rename(_ old: FilePath, to new: FilePath) throws(Fault) {
        // SAFETY: C strings for the call.
        let result = unsafe old.withPlatformString { old in
            unsafe new.withPlatformString { new in unsafe renameOnce(old, new) }
        }
        if result != 0 { throw .creating(new, Errno(rawValue: errno)) }
    }

    /// Lets two existing paths change places in one step.
    /// - Returns: false when this system or file system has no such call; nothing has changed then.
    package static func exchange(_ first: FilePath, _ second: FilePath) throws(Fault) -> Bool {
        // SAFETY: C strings for the call.
        let result = unsafe first.withPlatformString { first in
            unsafe second.withPlatformString { second in unsafe exchangeOnce(first, second) }
        }
        guard let result else { return false }
        if result == 0 { return true }
        if errno == EINVAL || errno == ENOSYS || errno == ENOTSUP { return false }
        throw .creating(second, Errno(rawValue: errno))
    }

    /// Gives the file at `old` the second name `new` (a hard link).
    /// - Throws: `Fault` when `new` is taken, or the two lie on different file systems.
    public static func link(_ old: FilePath, as new: FilePath) throws(Fault) {
        // SAFETY: C strings for the call.
        let result = unsafe old.withPlatformString { old in
            unsafe new.withPlatformString { new in unsafe linkOnce(old, new) }
        }
        if result != 0 { throw .creating(new, Errno(rawValue: errno)) }
    }

    /// Whether two paths name one file.
    public static func isSameFile(_ first: FilePath, _ second: FilePath) -> Bool {
        var (left, right) = (stat(), stat())
        // SAFETY: C strings for the calls; stat fills the structs.
        let results = unsafe (
            first.withPlatformString { unsafe stat($0, &left) }, second.withPlatformString { unsafe stat($0, &right) }
        )
        return results == (0, 0) && left.st_dev == right.st_dev && left.st_ino == right.st_ino
    }

    /// What stands at `path`, links followed; nil when nothing does.
    public static func identity(of path: FilePath) -> FileIdentity? {
        var status = stat()
        // SAFETY: a C string for the call; stat fills the struct.
        if unsafe path.withPlatformString({ unsafe stat($0, &status) }) != 0 { return nil }
        return FileIdentity(device: UInt64(status.st_dev), node: UInt64(status.st_ino), size: Int(status.st_size))
    }

    /// Flushes everything that was written to the file system that holds `path`: for a hundred thousand small files one
    /// call instead of as many.
    /// - Returns: false when this system has no such call that reports errors; nothing is flushed then.
    package static func synchronizeFileSystem(holding path: FilePath) throws(Fault) -> Bool {
        do {
            let descriptor = try FileDescriptor.open(path, .readOnly, options: .closeOnExec)
            let result = synchronizeOnce(descriptor.rawValue)
            let code = errno
            try descriptor.close()
            if let result, result != 0 { throw Errno(rawValue: code) }
            return result != nil
        } catch { throw .writing(path.string, error) }
    }

    /// Removes a file or a whole directory; what is not there is fine. Links are removed, not followed.
    public static func remove(_ path: FilePath) throws(Fault) {
        guard let kind = kind(of: path, followingLinks: false) else { return }
        if kind == .directory {
            for name in try list(path) { try remove(path.appending(name)) }
        }
        // SAFETY: a C string for the call.
        let result = unsafe path.withPlatformString {
            unsafe kind == .directory ? rmdir($0) : unlink($0)
        }
        if result != 0 && errno != ENOENT {
            throw Fault(.inputOutput, "cannot remove \(quoted(path.string)): \(Errno(rawValue: errno))")
        }
    }

    /// Removes a directory if it is empty; anything else stays.
    public static func removeEmptyDirectory(_ path: FilePath) {
        // SAFETY: a C string for the call.
        _ = unsafe path.withPlatformString { unsafe rmdir($0) }
    }

    /// Points the symbolic link `link` at `target` (relative to the link's directory), replacing an older link in one
    /// rename, and makes that durable. Anything but a link in its place is refused.
    public static func replaceLink(_ link: FilePath, target: String) throws(Fault) {
        if let kind = kind(of: link, followingLinks: false), kind != .symbolicLink {
            throw Fault(
                .cannotCreate,
                "cannot create \(quoted(link.string)): something that is no symbolic link is in its place")
        }
        let temporary = FilePath(link.string + temporarySuffix())
        // SAFETY: C strings for the call.
        let result = unsafe temporary.withPlatformString { path in
            unsafe target.withCString { unsafe symlink($0, path) }
        }
        if result != 0 { throw .creating(link, Errno(rawValue: errno)) }
        do {
            try rename(temporary, to: link)
        } catch {
            try? remove(temporary)
            throw error
        }
        try synchronizeDirectory(link.parent)
    }

    /// Where a symbolic link points, or nil.
    public static func linkTarget(_ link: FilePath) -> String? {
        // SAFETY: readlink writes at most the buffer's bytes and returns how many.
        unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 4096) { buffer in
            let count = unsafe link.withPlatformString { unsafe readlink($0, buffer.baseAddress!, 4096) }
            if count <= 0 { return nil }
            return unsafe String(
                decoding: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<count]), as: UTF8.self)
        }
    }

    /// `path` from the root, links resolved; as it is when nothing stands there.
    public static func absolute(_ path: FilePath) -> FilePath {
        // SAFETY: with nil realpath allocates its result, which is copied and freed.
        guard let text = unsafe path.withPlatformString({ unsafe realpath($0, nil) }) else { return path }
        defer { unsafe free(text) }
        return unsafe FilePath(platformString: text)
    }

    /// `.<random>.tmp`: what unpublished names end in. Readers ignore such names, writers clean them up.
    package static func temporarySuffix() -> String {
        "." + String(UInt64.random(in: .min ... .max), radix: 36) + ".tmp"
    }

    /// Removes what killed writers left in a directory: names that begin with `prefix` and end in `.tmp`.
    package static func removeStaleTemporaries(in directory: FilePath, prefix: String) throws(Fault) {
        for name in try list(directory) where name.hasPrefix(prefix) && name.hasSuffix(".tmp") {
            try remove(directory.appending(name))
        }
    }
}

extension FilePath {
    /// The directory that holds this path's last component; `.` for a bare name.
    package var parent: FilePath {
        let parent = removingLastComponent()
        return parent.isEmpty ? "." : parent
    }
}

/// fsync(2); a signal that came in between is no failure, and nothing is lost by asking again.
func fsyncAll(_ descriptor: Int32) -> Int32 {
    while true {
        let result = fsync(descriptor)
        if result == 0 || errno != EINTR { return result }
    }
}

// A free function, because `rename` inside `FileSystem` would be its own.
private func renameOnce(_ old: UnsafePointer<CChar>, _ new: UnsafePointer<CChar>) -> Int32 {
    unsafe rename(old, new)
}

private func linkOnce(_ old: UnsafePointer<CChar>, _ new: UnsafePointer<CChar>) -> Int32 { unsafe link(old, new) }

#if canImport(Darwin)
    /// macOS has sync(2), which says nothing of errors.
    private func synchronizeOnce(_ descriptor: Int32) -> Int32? { nil }
#else
    private typealias SyncFS = @convention(c) (Int32) -> Int32

    /// syncfs(2), which the module of the C library does not show.
    private func synchronizeOnce(_ descriptor: Int32) -> Int32? {
        guard let symbol = unsafe dlsym(nil, "syncfs") else { return nil }
        // SAFETY: the type is the one that the manual page gives.
        return unsafe unsafeBitCast(symbol, to: SyncFS.self)(descriptor)
    }
#endif

#if canImport(Darwin)
    private func exchangeOnce(_ first: UnsafePointer<CChar>, _ second: UnsafePointer<CChar>) -> Int32? {
        unsafe renamex_np(first, second, UInt32(RENAME_SWAP))
    }
#else
    private typealias RenameAt2 =
        @convention(c) (Int32, UnsafePointer<CChar>, Int32, UnsafePointer<CChar>, UInt32) -> Int32

    /// renameat2(2) with RENAME_EXCHANGE (2), looked up by name: the module of the C library does not show it, and an
    /// older one does not have it.
    private func exchangeOnce(_ first: UnsafePointer<CChar>, _ second: UnsafePointer<CChar>) -> Int32? {
        guard let symbol = unsafe dlsym(nil, "renameat2") else { return nil }
        // SAFETY: the type is the one that the manual page gives.
        let renameat2 = unsafe unsafeBitCast(symbol, to: RenameAt2.self)
        return unsafe renameat2(AT_FDCWD, first, AT_FDCWD, second, 2)
    }
#endif
