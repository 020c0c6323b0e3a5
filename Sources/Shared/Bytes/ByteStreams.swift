// Sequential bytes in and out over file descriptors: pipes, terminals, files. Short reads and writes and interrupted
// calls are retried; the closed reader of a pipe is told apart from a failure, because ripgrep's rule makes it none.

public import Synchronization
package import SystemPackage

#if canImport(Glibc)
    private import Glibc
#elseif canImport(Musl)
    private import Musl
#else
    private import Darwin
#endif

/// Where bytes come from, in order.
public protocol ByteSource: AnyObject {
    /// The name that messages put in quotes: a path, or `standard input`.
    var name: String { get }
    /// Between 1 and `count` bytes; empty only at the end.
    func read(upTo count: Int) throws(Fault) -> [UInt8]
}

extension ByteSource {
    /// `count` bytes, or fewer when the source ends first.
    public func read(filling count: Int) throws(Fault) -> [UInt8] {
        var bytes = try read(upTo: count)
        while bytes.count < count {
            let more = try read(upTo: count - bytes.count)
            if more.isEmpty { break }
            bytes.append(contentsOf: more)
        }
        return bytes
    }
}

/// Where bytes go, in order.
public protocol ByteSink: AnyObject {
    var name: String { get }
    /// All of `bytes`, or an error.
    func write(_ bytes: [UInt8]) throws
}

/// The reader of our output has gone (EPIPE): no error of ours; stop quietly.
public struct DownstreamClosed: Error, Sendable {
    public init() {}
}

/// Tells a read that waits whether to stop waiting. A structure, because a bare function in a `Mutex` is wrapped anew whenever
/// it is looked at: with Swift 6.3.1 every read left 64 bytes behind and made the next call one frame deeper.
public struct InterruptionProbe: Sendable {
    let isInterrupted: @Sendable () -> Bool

    public init(_ isInterrupted: @escaping @Sendable () -> Bool) { self.isInterrupted = isInterrupted }
}

/// A file, pipe or standard input, read in order.
public final class FileSource: ByteSource, Sendable {
    public let name: String
    private let descriptor: FileDescriptor
    private let owned: Bool

    public static let standardInput = FileSource(.standardInput, name: "standard input", owned: false)

    /// Opens a file or FIFO; `-` is standard input.
    public static func open(_ path: String) throws(Fault) -> FileSource {
        if path == "-" { return standardInput }
        if FileSystem.kind(of: FilePath(path)) == .directory {
            throw Fault(.noInput, "cannot open \(quoted(path)): it is a directory")
        }
        do {
            return FileSource(
                try FileDescriptor.open(FilePath(path), .readOnly, options: .closeOnExec), name: path, owned: true)
        } catch { throw .opening(FilePath(path), error) }
    }

    package init(_ descriptor: FileDescriptor, name: String, owned: Bool) {
        self.descriptor = descriptor
        self.name = name
        self.owned = owned
    }

    deinit { if owned { try? descriptor.close() } }

    /// What is asked, ten times a second, while a read waits for input: true ends the wait with an `interrupted` fault.
    /// A signal alone cannot: it may arrive just before the read begins.
    public static let interruptionProbe = Mutex<InterruptionProbe?>(nil)

    private func waitForInput() throws(Fault) {
        guard let probe = FileSource.interruptionProbe.withLock({ $0 }) else { return }
        var request = pollfd(fd: descriptor.rawValue, events: Int16(POLLIN), revents: 0)
        // Anything but "nothing yet" (0) or a signal (-1) is for the read to find out.
        while unsafe poll(&request, 1, 100) <= 0 {
            if probe.isInterrupted() { throw Fault(.interrupted, "interrupted while waiting for \(quoted(name))") }
        }
    }

    public func read(upTo count: Int) throws(Fault) -> [UInt8] {
        try waitForInput()
        var failure: Fault?
        // SAFETY: read writes at most the buffer's bytes and returns how many.
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            do {
                initialized = try unsafe descriptor.read(into: UnsafeMutableRawBufferPointer(buffer))
            } catch { failure = .reading(name, error) }
        }
        if let failure { throw failure }
        return bytes
    }
}

/// A pipe or standard output, written in order.
public final class FileSink: ByteSink, Sendable {
    public let name: String
    private let descriptor: FileDescriptor

    public static let standardOutput = FileSink(.standardOutput, name: "standard output")

    package static let standardError = FileSink(.standardError, name: "standard error")

    package init(_ descriptor: FileDescriptor, name: String) {
        self.descriptor = descriptor
        self.name = name
    }

    public func write(_ bytes: [UInt8]) throws {
        do {
            // SAFETY: the buffer lives for the call; writeAll only reads it and loops over short writes and EINTR.
            try unsafe bytes.withUnsafeBytes { _ = try unsafe descriptor.writeAll($0) }
        } catch Errno.brokenPipe {
            throw DownstreamClosed()
        } catch { throw Fault.writing(name, error) }
    }

    public func write(_ text: String) throws { try write(Array(text.utf8)) }
}

/// Bytes in memory as a source, for tests and embedders.
public final class MemorySource: ByteSource {
    public let name: String
    private let bytes: [UInt8]
    private var position = 0
    /// At most this many bytes are handed out at once (1 imitates the worst pipe).
    private let chunk: Int

    public init(_ bytes: [UInt8], name: String = "memory", chunk: Int = .max) {
        self.bytes = bytes
        self.name = name
        self.chunk = chunk
    }

    public func read(upTo count: Int) -> [UInt8] {
        let end = position + min(count, chunk, bytes.count - position)
        defer { position = end }
        return Array(bytes[position..<end])
    }
}

/// Bytes gathered in memory, for tests and embedders.
public final class MemorySink: ByteSink {
    public let name = "memory"
    public private(set) var bytes: [UInt8] = []

    public init() {}

    public func write(_ bytes: [UInt8]) { self.bytes.append(contentsOf: bytes) }
}

/// Gathers small writes into pieces of `capacity` bytes. `flush` must be called at the end; nothing is written behind
/// the caller's back, so that no error is lost.
public final class BufferedSink: ByteSink {
    private let sink: any ByteSink
    private let capacity: Int
    private var buffer: [UInt8] = []

    public var name: String { sink.name }

    public init(_ sink: any ByteSink, capacity: Int = 1 << 16) {
        self.sink = sink
        self.capacity = capacity
    }

    public func write(_ bytes: [UInt8]) throws {
        buffer.append(contentsOf: bytes)
        if buffer.count >= capacity { try flush() }
    }

    public func write(_ text: String) throws {
        buffer.append(contentsOf: text.utf8)
        if buffer.count >= capacity { try flush() }
    }

    public func flush() throws {
        if buffer.isEmpty { return }
        let bytes = buffer
        buffer.removeAll(keepingCapacity: true)
        try sink.write(bytes)
    }
}
