// Files that are whole or absent, and links that are replaced in one step.

import Bytes
import SystemPackage
import TestSupport
import Testing

@Suite struct FileTests {
    let directory: TemporaryDirectory
    init() throws { directory = try TemporaryDirectory() }

    private func path(_ name: String) -> FilePath { directory.path.appending(name) }

    @Test func anAtomicFileAppearsWhenItIsCommitted() throws {
        let file = try AtomicFile(path("a"))
        try file.write([1, 2])
        try file.write([3])
        #expect(file.bytesWritten == 3)
        #expect(FileSystem.kind(of: path("a")) == nil)
        try file.commit()
        #expect(try directory.contents("a") == [1, 2, 3])
        #expect(try directory.names == ["a"])
    }

    @Test func anAtomicFileReplacesTheOldOne() throws {
        try AtomicFile.write([1, 2, 3], to: path("a"))
        do {
            let file = try AtomicFile(path("a"))
            try file.write([9])
            #expect(try directory.contents("a") == [1, 2, 3])
        }
        #expect(try directory.contents("a") == [1, 2, 3], "dropped before it was committed")
        try AtomicFile.write([4], to: path("a"))
        #expect(try directory.contents("a") == [4])
        #expect(try directory.names == ["a"])
    }

    @Test func aDroppedFileLeavesNoTrace() throws {
        do { try AtomicFile(path("a")).write([1]) }
        #expect(try directory.names.isEmpty)
    }

    @Test func devicesFIFOsAndDirectoriesAreNotReplaced() throws {
        let fault = { (name: String) in
            Fault(.cannotCreate, "cannot create '\(name)': something that is no regular file is in its place")
        }
        #expect(throws: fault("/dev/null")) { try AtomicFile("/dev/null") }
        #expect(throws: fault(directory.path.string)) { try AtomicFile(directory.path) }
        #expect(try runShell("mkfifo '\(path("fifo"))'").status == 0)
        #expect(throws: fault(path("fifo").string)) { try AtomicFile(path("fifo")) }
        #expect(FileSystem.kind(of: path("fifo")) == .other)
        #expect(throws: fault(path("fifo").string)) { try AppendFile(path("fifo")) }
        #expect(throws: Fault.self) { try AtomicFile(path("missing/a")) }
    }

    @Test func aDirectoryAppearsWhole() throws {
        let atomic = try AtomicDirectory(path("new/set"))
        try AtomicFile.write([1], to: atomic.temporary.appending("a"), durable: false)
        #expect(FileSystem.kind(of: path("new/set")) == nil)
        try atomic.commit()
        #expect(try FileSystem.list(path("new")) == ["set"])
        #expect(try InputFile(path("new/set/a")).readAll(limit: 1) == [1])
        #expect(throws: Fault(.cannotCreate, "cannot create '\(path("new/set"))': it exists already")) {
            try AtomicDirectory(path("new/set"))
        }
    }

    @Test func aDroppedDirectoryLeavesNoTrace() throws {
        do {
            let atomic = try AtomicDirectory(path("set"))
            try FileSystem.makeDirectory(atomic.temporary.appending("inner"))
            try AtomicFile.write([1], to: atomic.temporary.appending("inner/a"), durable: false)
        }
        #expect(try directory.names.isEmpty)
    }

    @Test func linksAreReplacedAndNothingElseIs() throws {
        try FileSystem.replaceLink(path("latest"), target: "step-1")
        #expect(FileSystem.linkTarget(path("latest")) == "step-1")
        try FileSystem.replaceLink(path("latest"), target: "step-2")
        #expect(FileSystem.linkTarget(path("latest")) == "step-2")
        try AtomicFile.write([1], to: path("file"))
        #expect(throws: Fault.self) { try FileSystem.replaceLink(path("file"), target: "x") }
        #expect(try directory.contents("file") == [1])
        #expect(FileSystem.linkTarget(path("file")) == nil)
        #expect(try directory.names == ["file", "latest"])
    }

    @Test func removingFollowsNoLink() throws {
        try FileSystem.makeDirectory(path("kept"))
        try AtomicFile.write([1], to: path("kept/a"))
        try FileSystem.makeDirectory(path("gone"))
        try FileSystem.replaceLink(path("gone/link"), target: "../kept")
        try FileSystem.remove(path("gone"))
        try FileSystem.remove(path("never there"))
        #expect(try directory.names == ["kept"])
        #expect(try FileSystem.list(path("kept")) == ["a"])
    }

    @Test func staleTemporariesAreCleaned() throws {
        for name in ["a.x.tmp", "a", "ab.tmp.keep", "b.y.tmp"] { try AtomicFile.write([], to: path(name)) }
        try FileSystem.removeStaleTemporaries(in: directory.path, prefix: "a")
        #expect(try directory.names == ["a", "ab.tmp.keep", "b.y.tmp"])
    }

    @Test func readsBeyondAFileAreRefusedBeforeAnythingIsAllocated() throws {
        try AtomicFile.write([1, 2, 3], to: path("a"))
        let file = try InputFile(path("a"))
        #expect(try file.read(at: 1, count: 2) == [2, 3])
        #expect(try file.read(at: 3, count: 0) == [])
        for (offset, count) in [(0, 4), (4, 0), (-1, 1), (0, -1), (1, .max), (.max, 1), (0, .max)] {
            #expect(throws: Fault.self, "\(offset) \(count)") { try file.read(at: offset, count: count) }
        }
        #expect(throws: Fault.self) { try file.readAll(limit: 2) }
        #expect(try file.digest() == Digest.of([1, 2, 3]))
    }

    @Test func aFileThatShrinksIsNoTrap() throws {
        try AtomicFile.write([UInt8](repeating: 1, count: 1000), to: path("a"))
        let file = try InputFile(path("a"))
        #expect(try runShell("truncate -s 10 '\(path("a"))'").status == 0)
        #expect(throws: Fault(.badData, "'\(path("a"))' at byte 10: the file has shrunk while it was being read")) {
            try file.read(at: 0, count: 1000)
        }
    }

    @Test func inputsMustBeThere() throws {
        #expect { try InputFile(path("no")) } throws: { ($0 as? Fault)?.kind == .noInput }
        #expect { try InputFile(directory.path) } throws: { ($0 as? Fault)?.kind == .noInput }
        #expect { try FileSource.open(directory.path.string) } throws: { ($0 as? Fault)?.kind == .noInput }
    }

    @Test func appendFileGrows() throws {
        try AppendFile(path("log")).write([1, 2])
        let file = try AppendFile(path("log"))
        try file.write([3])
        try file.synchronize()
        #expect(try directory.contents("log") == [1, 2, 3])
    }

    @Test func aFullDeviceIsAnErrorAndAClosedReaderIsNone() throws {
        let full = try FileDescriptor.open(FilePath("/dev/full"), .writeOnly)
        defer { try? full.close() }
        #expect { try FileSink(full, name: "full").write([1]) } throws: { ($0 as? Fault)?.kind == .inputOutput }
        let pipe = try FileDescriptor.pipe()
        try pipe.readEnd.close()
        defer { try? pipe.writeEnd.close() }
        ignoreBrokenPipes()
        #expect(throws: DownstreamClosed.self) { try FileSink(pipe.writeEnd, name: "pipe").write([1]) }
    }

    @Test func bufferedBytesArriveInOrderAndOnlyWhenFlushed() throws {
        let memory = MemorySink()
        let buffer = BufferedSink(memory, capacity: 4)
        try buffer.write([1, 2, 3])
        #expect(memory.bytes.isEmpty)
        try buffer.write([4, 5])
        #expect(memory.bytes == [1, 2, 3, 4, 5])
        try buffer.write("a")
        try buffer.flush()
        try buffer.flush()
        #expect(memory.bytes == [1, 2, 3, 4, 5, 0x61])
    }

    @Test func timestampsAndHost() {
        #expect(Host.timestamp(0) == "1970-01-01T00:00:00Z" && Host.timestamp(1_769_860_800) == "2026-01-31T12:00:00Z")
        #expect(Host.processors > 0 && Host.memory > 0 && Host.peakResidentBytes > 0 && !Host.name.isEmpty)
        let before = Host.monotonicClock
        #expect(Host.monotonicClock >= before)
    }
}
