// A directory of a test's own, gone when the test is.

import Bytes
import SystemPackage

final class TemporaryDirectory {
    let path: FilePath

    init() throws {
        path = FilePath("/tmp/millrace-bytes-\(UInt64.random(in: .min ... .max))")
        try FileSystem.makeDirectory(path)
    }

    deinit { try? FileSystem.remove(path) }

    func contents(_ name: String) throws -> [UInt8] {
        try InputFile(path.appending(name)).readAll(limit: 1 << 26)
    }

    var names: [String] { get throws { try FileSystem.list(path) } }
}

/// splitmix64: the same bytes in every run of a test.
struct Noise {
    var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }

    mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) } }
}
