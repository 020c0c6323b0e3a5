// Tools as their users meet them: processes with arguments, standard streams, an environment and an exit status. The
// streams are files, so that no amount of output can block a process that nobody reads from.

private import Bytes
private import SystemPackage

#if canImport(Glibc)
    private import Glibc
#elseif canImport(Musl)
    private import Musl
#else
    private import Darwin
#endif

/// How a process ended and what it wrote.
public struct ToolResult: Sendable {
    /// Exit status; -1 when a signal ended it.
    public var status: Int32
    /// The signal that ended it.
    public var signal: Int32?
    public var output: [UInt8]
    public var errors: String

    public var text: String { String(decoding: output, as: UTF8.self) }
}

/// A process under way.
public final class ToolProcess {
    public let identifier: Int32
    private let scratch: String
    private var isWaitedFor = false

    /// Starts `executable` (a path, or the name of one of our tools).
    /// - Parameters:
    ///   - input: what standard input holds; nil for nothing. `inputFile` names a file instead.
    ///   - environment: set on top of this process's own.
    ///   - directory: where it runs.
    public init(
        _ executable: String, _ arguments: [String] = [], input: [UInt8]? = nil, inputFile: String? = nil,
        environment: [String: String] = [:], directory: String? = nil
    ) throws {
        scratch = "/tmp/millrace-process-" + String(UInt64.random(in: .min ... .max), radix: 36)
        try FileSystem.makeDirectory(FilePath(scratch))
        if let input { try writeFile(input, to: scratch + "/in") }
        let inputPath = inputFile ?? (input == nil ? "/dev/null" : scratch + "/in")
        let path = executable.contains("/") ? executable : toolDirectory + "/" + executable
        // The tools come first, so that a shell script finds them by name.
        var variables = environment
        variables["PATH"] = toolDirectory + ":" + (Host.environment("PATH") ?? "/usr/bin:/bin")
        identifier = try spawn(
            [path] + arguments, environment: variables, directory: directory,
            streams: [inputPath, scratch + "/out", scratch + "/err"])
    }

    deinit {
        if !isWaitedFor {
            kill(SIGKILL)
            _ = try? wait()
        }
        try? FileSystem.remove(FilePath(scratch))
    }

    public func kill(_ signal: Int32) { _ = sendSignal(identifier, signal) }

    /// Whether the process has not ended yet.
    public var isRunning: Bool {
        var information = unsafe siginfo_t()
        // SAFETY: waitid fills the struct and, with WNOWAIT, leaves the process to be waited for.
        let result = unsafe waitid(P_PID, id_t(identifier), &information, WEXITED | WNOHANG | WNOWAIT)
        return unsafe result == 0 && information.si_signo == 0
    }

    /// Waits for the end.
    public func wait() throws -> ToolResult {
        isWaitedFor = true
        var status: Int32 = 0
        // SAFETY: waitpid fills the integer.
        while unsafe waitpid(identifier, &status, 0) < 0 && errno == EINTR {}
        let signal = status & 0x7f
        return ToolResult(
            status: signal == 0 ? status >> 8 & 0xff : -1, signal: signal == 0 ? nil : signal,
            output: try readFile(scratch + "/out"),
            errors: String(decoding: try readFile(scratch + "/err"), as: UTF8.self))
    }
}

/// Runs a tool of ours (or any executable, by path) to its end.
public func runTool(
    _ executable: String, _ arguments: [String] = [], input: [UInt8]? = nil, inputFile: String? = nil,
    environment: [String: String] = [:], directory: String? = nil
) throws -> ToolResult {
    try ToolProcess(
        executable, arguments, input: input, inputFile: inputFile, environment: environment, directory: directory
    ).wait()
}

/// Runs a shell script (bash, with pipefail) that finds our tools by name.
public func runShell(
    _ script: String, environment: [String: String] = [:], directory: String? = nil
) throws -> ToolResult {
    try runTool(
        "/bin/bash", ["-c", "set -o pipefail\n" + script], environment: environment, directory: directory)
}

/// Sleeps.
public func pause(milliseconds: Int) { _ = usleep(UInt32(milliseconds * 1000)) }

/// Where the built tools lie: beside the test bundle.
public let toolDirectory: String = {
    for argument in CommandLine.arguments {
        if let range = argument.firstRange(of: "/millracePackageTests.xctest") {
            return String(argument[..<range.lowerBound])
        }
    }
    return FileSystem.linkTarget("/proc/self/exe").map { FilePath($0).removingLastComponent().string }
        ?? ".build/release"
}()

// A free function, because `kill` inside the class is its own.
private func sendSignal(_ identifier: Int32, _ signal: Int32) -> Int32 { kill(identifier, signal) }

private func spawn(
    _ arguments: [String], environment: [String: String], directory: String?, streams: [String]
) throws -> Int32 {
    // `env` changes the directory and sets the variables: the spawned process inherits ours, and no C array of strings
    // has to be merged.
    let place = directory.map { ["-C", $0] } ?? []
    let words = ["/usr/bin/env"] + place + environment.map { "\($0.key)=\($0.value)" } + arguments
    // SAFETY: the strings are copied, live until posix_spawn has returned, and are freed here.
    var pointers: [UnsafeMutablePointer<CChar>?] = unsafe words.map { unsafe strdup($0) }
    defer { unsafe pointers.forEach { unsafe free($0) } }
    unsafe pointers.append(nil)
    #if canImport(Darwin)
        var actions: posix_spawn_file_actions_t? = nil
    #else
        var actions = unsafe posix_spawn_file_actions_t()
    #endif
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    unsafe posix_spawn_file_actions_addopen(&actions, 0, streams[0], O_RDONLY, 0)
    for descriptor in 1...2 {
        unsafe posix_spawn_file_actions_addopen(
            &actions, Int32(descriptor), streams[descriptor], O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    }
    // The test runner's threads block signals, and a child would inherit that: it is given an empty mask.
    #if canImport(Darwin)
        var attributes: posix_spawnattr_t? = nil
    #else
        var attributes = posix_spawnattr_t()
    #endif
    unsafe posix_spawnattr_init(&attributes)
    defer { unsafe posix_spawnattr_destroy(&attributes) }
    var mask = sigset_t()
    unsafe sigemptyset(&mask)
    unsafe posix_spawnattr_setsigmask(&attributes, &mask)
    unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
    var identifier: pid_t = 0
    // SAFETY: arguments end in nil; everything passed outlives the call.
    let code = unsafe posix_spawn(&identifier, "/usr/bin/env", &actions, &attributes, pointers, environ)
    if code != 0 { throw Errno(rawValue: code) }
    return identifier
}
