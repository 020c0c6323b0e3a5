// The frame every tool stands in: parse, run, and turn whatever was thrown into one line on standard error and an exit
// code. SIGPIPE is ignored from the start, so that a closed reader is an error code that can be told from a full disk; so is
// SIGXFSZ, so that a limit on the size of files is one too.

public import ArgumentParser
private import Bytes
private import SystemPackage

#if canImport(Glibc)
    private import Glibc
#elseif canImport(Musl)
    private import Musl
#else
    private import Darwin
#endif

/// A tool's root command. Conform with `@main` and call nothing else.
public protocol Tool: ParsableCommand {}

extension Tool {
    /// Parses the arguments, runs the command and exits.
    public static func main() {
        StandardStreams.open()
        for number in [SIGPIPE, SIGXFSZ] { _ = signal(number, SIG_IGN) }
        endProcess(run(joiningText(Array(Swift.CommandLine.arguments.dropFirst()))).rawValue)
    }

    private static func run(_ arguments: [String]) -> ExitStatus {
        do {
            var command = try parseAsRoot(arguments)
            try command.run()
            return .done
        } catch {
            return report(error, arguments)
        }
    }

    private static var toolName: String { configuration.commandName ?? _commandName }

    private static func report(_ error: any Error, _ arguments: [String]) -> ExitStatus {
        switch error {
        case is DownstreamClosed: return .done
        case let fault as Fault:
            // Names in it are quoted; words of the user's that became a part of it otherwise are made harmless here.
            StandardError.writeLine("\(toolName): \(printable(fault.message))")
            if let hint = fault.hint { StandardError.writeLine("hint: \(printable(hint))") }
            return ExitStatus(fault.kind)
        case let exit as Exit:
            if let message = exit.message { StandardError.writeLine("\(toolName): \(printable(message))") }
            return exit.status
        default: return reportParser(error, arguments)
        }
    }

    /// What the argument parser throws: help and version (to standard output, 0) or a slip in the arguments (64).
    private static func reportParser(_ error: any Error, _ arguments: [String]) -> ExitStatus {
        let code = exitCode(for: error)
        if code == .success {
            do {
                try FileSink.standardOutput.write(withDefaultOptions(fullMessage(for: error)) + "\n")
                return .done
            } catch { return report(error, arguments) }
        }
        if code == .validationFailure {
            // It repeats what was typed as it was, and lists many choices on lines of their own.
            let text = message(for: error).replacing(":\n  - ", with: ": ").replacing("\n  - ", with: ", ")
            StandardError.writeLine("\(toolName): \(printable(text))")
            // Options of a subcommand are shown by its own help.
            let first = configuration.subcommands.first { $0._commandName == arguments.first }
            let command = first.map { "\(toolName) \($0._commandName)" } ?? toolName
            StandardError.writeLine("hint: '\(command) --help' shows the options")
            return .usage
        }
        StandardError.writeLine("\(toolName): unexpected error: \(printable("\(error)"))")
        return .bug
    }

    /// The help of a root command, with usage and options of its default subcommand, whose name users leave out, in place
    /// of its own. Any other text as it is.
    private static func withDefaultOptions(_ text: String) -> String {
        guard let subcommand = configuration.defaultSubcommand, let list = text.firstRange(of: "\nSUBCOMMANDS:\n"),
            let usage = text.firstRange(of: "\nUSAGE:")
        else { return text }
        let detail = helpMessage(for: subcommand)
        guard let detailUsage = detail.firstRange(of: "\nUSAGE:") else { return text }
        let spelled = "\(toolName) \(subcommand._commandName) "
        let options = detail[detailUsage.lowerBound...].split(separator: spelled, maxSplits: 1)
        return text[..<usage.lowerBound] + options.joined(separator: toolName + " ") + text[list.lowerBound...]
    }
}

/// Options that take any text, in all tools.
private let textOptions: Set = ["--split-on", "--separator", "--prompt"]

/// The argument parser takes a word like `---` for a misspelled option wherever it stands, and it is the commonest
/// separator: text that begins with a dash is joined to its option, `--split-on=---`.
func joiningText(_ arguments: [String]) -> [String] {
    var result: [String] = []
    for argument in arguments {
        if let option = result.last, textOptions.contains(option), argument.hasPrefix("-"), !result.contains("--") {
            result[result.count - 1] = option + "=" + argument
        } else {
            result.append(argument)
        }
    }
    return result
}

/// Descriptors 0 to 2 of the process.
private enum StandardStreams {
    /// A parent may have closed some of them, and the next file we open would get such a number: messages would be
    /// written into a checkpoint. They are given to /dev/null, opened the wrong way round, so that reading standard input
    /// and writing standard output still fail as they would have.
    static func open() {
        for number: Int32 in 0...2 where fcntl(number, F_GETFD) < 0 {
            // The lowest free number is the one that is missing.
            _ = try? FileDescriptor.open(FilePath("/dev/null"), number == 0 ? .writeOnly : .readOnly)
        }
    }
}

// A free function, because `exit` inside the extension would be the parser's.
private func endProcess(_ code: Int32) -> Never { exit(code) }

/// The conversation: one line at a time, failures ignored (there is nowhere left to report them).
public enum StandardError {
    private static let sink = FileSink.standardError

    public static var isTerminal: Bool { isatty(2) == 1 }

    public static func write(_ text: String) { try? sink.write(text) }
    public static func writeLine(_ line: String) { write(line + "\n") }
}

public enum StandardInput {
    public static var isTerminal: Bool { isatty(0) == 1 }
}

public enum StandardOutput {
    public static var isTerminal: Bool { isatty(1) == 1 }

    /// Whether another program reads what we write, as it writes it.
    public static var isPipe: Bool {
        var status = stat()
        // SAFETY: fstat fills the struct that it is given.
        return unsafe fstat(1, &status) == 0 && [S_IFIFO, S_IFSOCK].contains(status.st_mode & S_IFMT)
    }

    /// Characters in a line of the terminal that standard output is, or nil when it is none.
    public static var terminalWidth: Int? { terminalSize.flatMap { $0.ws_col > 0 ? Int($0.ws_col) : nil } }

    /// Lines of that terminal.
    public static var terminalHeight: Int? { terminalSize.flatMap { $0.ws_row > 0 ? Int($0.ws_row) : nil } }

    private static var terminalSize: winsize? {
        var size = winsize()
        // SAFETY: TIOCGWINSZ fills the struct that it is given.
        return unsafe ioctl(1, UInt(TIOCGWINSZ), &size) == 0 ? size : nil
    }

    /// Refuses to send binary to a terminal.
    public static func requireNoTerminal(_ what: String) throws {
        if isTerminal {
            throw Fault(.usage, "refusing to write \(what) to a terminal", hint: "redirect it to a file or a pipe")
        }
    }

    /// Refuses to send a terminal text that could command it.
    public static func requireReadable(_ text: [UInt8]) throws {
        if isTerminal && text.contains(where: { $0 < 7 || $0 == 0x1b }) {
            try requireNoTerminal("text with control characters")
        }
    }
}

extension ParsableCommand {
    /// A tool that expects a pipe and finds a terminal shows its help instead of waiting for typing.
    public static func helpIfInputIsTerminal() throws {
        if StandardInput.isTerminal { throw CleanExit.helpRequest(Self.self) }
    }

    /// The workers that `--threads` asks for; nil: the CPUs.
    public static func workers(_ threads: Int?) throws -> Int {
        if let threads, threads < 1 { throw Fault(.usage, "--threads \(threads): expected at least 1") }
        return threads ?? Host.processors
    }

    /// Without files there is nothing to read, unless help is what was wanted.
    public static func requireInputs(_ files: [String]) throws {
        if !files.isEmpty { return }
        try helpIfInputIsTerminal()
        throw Fault(.usage, "no input files", hint: "'-' reads standard input")
    }
}
