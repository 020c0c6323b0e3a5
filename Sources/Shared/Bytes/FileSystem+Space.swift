// Is there room? Asked before a checkpoint is begun: a refusal that names both numbers is better than a disk filled to the
// brim with one that will never be whole.

public import SystemPackage

#if canImport(Glibc)
    private import Glibc
#elseif canImport(Musl)
    private import Musl
#else
    private import Darwin
#endif

extension FileSystem {
    /// Bytes that this user may still write to the file system that holds `path`; nil where it does not say. Quotas are
    /// not in it.
    public static func freeBytes(holding path: FilePath) -> Int? {
        var status = statvfs()
        // SAFETY: a C string for the call, which fills the struct.
        let result = unsafe path.withPlatformString { path in unsafe spaceOnce(path, &status) }
        if result != 0 { return nil }
        let free = UInt64(status.f_bavail).multipliedReportingOverflow(by: UInt64(status.f_frsize))
        return free.overflow ? Int.max : Int(clamping: free.partialValue)
    }

    /// Refuses to begin writing what there is no room for.
    /// - Parameters:
    ///   - bytes: what is to be written.
    ///   - path: what is to be made; its directory must be there.
    ///   - remedy: what would make room.
    /// - Throws: `Fault` (cannot create) with both numbers.
    public static func requireSpace(
        _ bytes: Int, for path: FilePath, remedy: @autoclosure () -> String = "make room"
    ) throws(Fault) {
        guard let free = freeBytes(holding: path.parent), free < bytes else { return }
        throw Fault(
            .cannotCreate, "cannot create \(quoted(path.string)): it takes \(bytes) bytes, the disk has \(free) free",
            hint: "nothing was written; \(remedy())")
    }
}

// A free function, because `statvfs` is a struct's name too.
private func spaceOnce(_ path: UnsafePointer<CChar>, _ status: inout statvfs) -> Int32 {
    unsafe statvfs(path, &status)
}
