// A directory of a test's own, gone when the test is.

import Bytes
import SystemPackage

final class TemporaryDirectory {
    let path: FilePath

    init() throws {
        path = FilePath("/tmp/millrace-metrics-\(UInt64.random(in: .min ... .max))")
        try FileSystem.makeDirectory(path)
    }

    deinit { try? FileSystem.remove(path) }

    func write(_ text: String, to name: String) throws -> FilePath {
        let file = path.appending(name)
        try AtomicFile.write(Array(text.utf8), to: file, durable: false)
        return file
    }

    func read(_ name: String) throws -> String {
        let bytes = try InputFile(path.appending(name)).readAll(limit: 1 << 26)
        return String(decoding: bytes, as: UTF8.self)
    }
}
