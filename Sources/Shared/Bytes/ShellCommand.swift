// A command of the user's that we start, feed and, when its time is over, end: in a process group of its own, so that what
// it started goes with it, and with none of our descriptors but standard error, so that it can neither eat our input nor
// mix its output into ours.

#if canImport(Glibc)
    private import Glibc
#elseif canImport(Musl)
    private import Musl
#else
    private import Darwin
#endif

/// `sh -c TEXT`. Its standard output is our standard error.
public struct ShellCommand: Sendable, Equatable {
    /// How a command ended.
    public enum Outcome: Sendable, Equatable {
        case exited(Int32)
        case killed(signal: Int32)
        /// Its time was over; its process group was ended.
        case timedOut
        /// We were asked to stop; its process group was ended.
        case interrupted
        /// Somebody else waited for it (an ignored SIGCHLD): it has ended, and nobody knows how.
        case unknown
    }

    public let text: String

    public init(_ text: String) { self.text = text }

    /// Seconds between asking a process group to end and ending it.
    static let grace = 0.1

    /// Runs the command to its end, or ends it.
    /// - Parameters:
    ///   - input: its standard input; it need not read it.
    ///   - environment: set on top of this process's own.
    ///   - timeout: seconds that it has.
    ///   - isInterrupted: asked many times a second.
    /// - Throws: `Fault` (input/output) when it cannot be started.
    public func run(
        input: [UInt8], environment: [(name: String, value: String)] = [], timeout: Double,
        isInterrupted: () -> Bool = { false }
    ) throws(Fault) -> Outcome {
        // Both ends stay open here until the end: writing into a pipe that has a reader never raises SIGPIPE.
        let pipe = try InputPipe()
        defer { pipe.close() }
        let child = try start(reading: pipe.readEnd, environment)
        let deadline = Host.monotonicClock + timeout
        var rest = input[...]
        var pause = 0.001
        while true {
            if !pipe.isWriteEndClosed {
                pipe.write(&rest)
                if rest.isEmpty { pipe.closeWriteEnd() }
            }
            if let outcome = ShellCommand.outcome(of: child) { return outcome }
            let isCut = isInterrupted()
            if isCut || Host.monotonicClock >= deadline {
                ShellCommand.end(group: child)
                return isCut ? .interrupted : .timedOut
            }
            Host.sleep(seconds: pause)
            pause = min(2 * pause, 0.02)
        }
    }

    private static func outcome(of child: pid_t) -> Outcome? {
        var status: Int32 = 0
        // SAFETY: waitpid fills the integer.
        let result = unsafe waitpid(child, &status, WNOHANG)
        if result == 0 || (result < 0 && errno == EINTR) { return nil }
        if result < 0 { return .unknown }
        let signal = status & 0x7f
        return signal == 0 ? .exited(status >> 8 & 0xff) : .killed(signal: signal)
    }

    /// Asks the group to end, and ends it: also what a shell that obeyed has left behind.
    private static func end(group: pid_t) {
        _ = kill(-group, SIGTERM)
        var hasEnded = false
        func wait(seconds: Double) {
            let deadline = Host.monotonicClock + seconds
            while !hasEnded && Host.monotonicClock < deadline {
                hasEnded = outcome(of: group) != nil
                if !hasEnded { Host.sleep(seconds: 0.005) }
            }
        }
        wait(seconds: grace)
        _ = kill(-group, SIGKILL)
        // A process that the kernel holds in a call cannot be waited for: the run is worth more than its remains.
        wait(seconds: grace)
    }

    private func start(reading input: Int32, _ environment: [(name: String, value: String)]) throws(Fault) -> pid_t {
        #if canImport(Darwin)
            var actions: posix_spawn_file_actions_t? = nil
            var attributes: posix_spawnattr_t? = nil
        #else
            var actions = unsafe posix_spawn_file_actions_t()
            var attributes = posix_spawnattr_t()
        #endif
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        unsafe posix_spawn_file_actions_adddup2(&actions, input, 0)
        unsafe posix_spawn_file_actions_adddup2(&actions, 2, 1)
        unsafe posix_spawnattr_init(&attributes)
        defer { unsafe posix_spawnattr_destroy(&attributes) }
        // The signals that we ignore or catch mean to the command what they mean to any other.
        var signals = sigset_t()
        unsafe sigemptyset(&signals)
        unsafe posix_spawnattr_setsigmask(&attributes, &signals)
        for number in [SIGPIPE, SIGXFSZ, SIGINT, SIGTERM, SIGHUP, SIGCHLD] { unsafe sigaddset(&signals, number) }
        unsafe posix_spawnattr_setsigdefault(&attributes, &signals)
        unsafe posix_spawnattr_setpgroup(&attributes, 0)
        var flags = Int32(POSIX_SPAWN_SETPGROUP) | Int32(POSIX_SPAWN_SETSIGDEF) | Int32(POSIX_SPAWN_SETSIGMASK)
        #if canImport(Darwin)
            // Elsewhere each of our descriptors is opened to be closed at exec.
            unsafe posix_spawn_file_actions_addinherit_np(&actions, 2)
            flags |= Int32(POSIX_SPAWN_CLOEXEC_DEFAULT)
        #endif
        unsafe posix_spawnattr_setflags(&attributes, Int16(flags))
        var variables = ShellCommand.inherited(without: Set(environment.map(\.name)))
        variables += environment.map { "\($0.name)=\($0.value)" }
        let code = unsafe ShellCommand.withCStrings(["/bin/sh", "-c", text]) { arguments in
            unsafe ShellCommand.withCStrings(variables) { variables in
                var child: pid_t = 0
                // SAFETY: both arrays end in nil; everything passed outlives the call.
                let code = unsafe posix_spawn(&child, "/bin/sh", &actions, &attributes, arguments, variables)
                return (code: code, child: child)
            }
        }
        if code.code != 0 {
            // SAFETY: strerror gives a text that is copied at once.
            let reason = unsafe String(cString: strerror(code.code))
            throw Fault(.inputOutput, "cannot start /bin/sh: \(reason)")
        }
        return code.child
    }

    /// This process's environment, as `NAME=VALUE`.
    private static func inherited(without names: Set<String>) -> [String] {
        var variables: [String] = []
        var index = 0
        // SAFETY: the array ends in nil; no thread of ours changes the environment.
        while let entry = unsafe environ[index] {
            let variable = unsafe String(cString: entry)
            if !names.contains(String(variable.prefix { $0 != "=" })) { variables.append(variable) }
            index += 1
        }
        return variables
    }

    @unsafe
    private static func withCStrings<Result>(
        _ strings: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> Result
    ) -> Result {
        // SAFETY: the copies live until `body` has returned, and are freed here.
        var pointers: [UnsafeMutablePointer<CChar>?] = unsafe strings.map { unsafe strdup($0) }
        defer { unsafe pointers.forEach { unsafe free($0) } }
        unsafe pointers.append(nil)
        return unsafe body(pointers)
    }
}

/// A pipe that a command reads its standard input from. Writing never blocks.
private final class InputPipe {
    let readEnd: Int32
    private let writeEnd: Int32
    private(set) var isWriteEndClosed = false

    init() throws(Fault) {
        var ends: [Int32] = [0, 0]
        // SAFETY: pipe fills the two integers.
        if unsafe pipe(&ends) != 0 {
            let reason = unsafe String(cString: strerror(errno))
            throw Fault(.inputOutput, "cannot make a pipe: \(reason)")
        }
        (readEnd, writeEnd) = (ends[0], ends[1])
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        _ = fcntl(writeEnd, F_SETFL, fcntl(writeEnd, F_GETFL) | O_NONBLOCK)
    }

    /// Writes what there is room for, and takes it off `rest`.
    func write(_ rest: inout ArraySlice<UInt8>) {
        while !rest.isEmpty {
            // SAFETY: the buffer lives for the call and is only read.
            let count = unsafe rest.withUnsafeBytes { unsafe writeOnce(writeEnd, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            if count <= 0 { return }
            rest = rest.dropFirst(count)
        }
    }

    func closeWriteEnd() {
        if isWriteEndClosed { return }
        isWriteEndClosed = true
        closeOnce(writeEnd)
    }

    func close() {
        closeWriteEnd()
        closeOnce(readEnd)
    }
}

// Free functions, because `write` and `close` inside the class are its own.
private func writeOnce(_ descriptor: Int32, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int {
    unsafe write(descriptor, bytes, count)
}

private func closeOnce(_ descriptor: Int32) { _ = close(descriptor) }
