// Errors become exit codes here and nowhere else (sysexits.h, and DESIGN's three of its own).

public import Bytes

/// What a tool's exit tells its caller.
public enum ExitStatus: Int32, Sendable {
    case done = 0
    /// The honest answer is no: `diff` differs, `verify` found damage.
    case no = 1
    case usage = 64
    case badData = 65
    case noInput = 66
    case bug = 70
    case cannotCreate = 73
    case inputOutput = 74
    /// Interrupted after saving: run it again to go on.
    case interrupted = 75

    public init(_ kind: Fault.Kind) {
        switch kind {
        case .badData: self = .badData
        case .noInput: self = .noInput
        case .cannotCreate: self = .cannotCreate
        case .inputOutput: self = .inputOutput
        case .usage: self = .usage
        case .interrupted: self = .interrupted
        }
    }
}

/// Thrown to end a tool with a status and, unless it is nil, one line on standard error.
public struct Exit: Error, Sendable {
    public let status: ExitStatus
    public let message: String?

    public init(_ status: ExitStatus, _ message: String? = nil) {
        self.status = status
        self.message = message
    }
}
