// A place for a test's files that is gone when the test is over.

private import Bytes
private import SystemPackage

/// Calls `body` with the path of a new directory and removes it afterwards.
public func withTemporaryDirectory<Result>(_ body: (String) throws -> Result) throws -> Result {
    let path = "/tmp/millrace-test-" + String(UInt64.random(in: .min ... .max), radix: 36)
    try FileSystem.makeDirectory(FilePath(path))
    defer { try? FileSystem.remove(FilePath(path)) }
    return try body(path)
}

public func readFile(_ path: String) throws -> [UInt8] { try InputFile(FilePath(path)).readAll(limit: 1 << 30) }

/// Writes a file in place, without the flushes that make an `AtomicFile` slow: tests damage files thousands of times.
public func writeFile(_ bytes: [UInt8], to path: String) throws {
    let file = try FileDescriptor.open(
        FilePath(path), .writeOnly, options: [.create, .truncate], permissions: [.ownerReadWrite])
    try file.closeAfter { _ = try file.writeAll(bytes) }
}

public func writeFile(_ text: String, to path: String) throws { try writeFile(Array(text.utf8), to: path) }

public func exists(_ path: String) -> Bool { FileSystem.kind(of: FilePath(path), followingLinks: false) != nil }

/// Every file under a directory with its bytes, by relative path: what `diff -r` compares.
public func tree(_ path: String) throws -> [String: [UInt8]] {
    var files: [String: [UInt8]] = [:]
    for name in try FileSystem.list(FilePath(path)) {
        let child = path + "/" + name
        if FileSystem.kind(of: FilePath(child)) == .directory {
            for (key, value) in try tree(child) { files[name + "/" + key] = value }
        } else {
            files[name] = try readFile(child)
        }
    }
    return files
}
