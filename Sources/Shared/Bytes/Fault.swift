// What goes wrong, said once: a fault is one line for a person and a kind for the exit code. Every module below the
// tools throws it (or wraps it), because a bad file is described the same way wherever it is met: subject in quotes,
// where, expected, found, and a hint when there is something to do.

package import SystemPackage

/// An error with a one-line description in the house style: lower case, no full stop, subject in 'quotes'.
public struct Fault: Error, Sendable, Hashable, CustomStringConvertible {
    /// What kind of trouble; `CommandLine.ExitStatus` maps it to a code, nothing else does.
    public enum Kind: String, Sendable {
        /// Input that lies: corrupt, truncated, contradictory, out of range.
        case badData
        /// The named input does not exist or cannot be opened.
        case noInput
        /// An output cannot be created.
        case cannotCreate
        /// Reading or writing failed under way: a full disk, an I/O error.
        case inputOutput
        /// The user asked us to stop while we waited.
        case interrupted
        /// The request contradicts itself or the state it meets.
        case usage
    }

    public var kind: Kind
    public var message: String
    public var hint: String?

    public init(_ kind: Kind, _ message: String, hint: String? = nil) {
        self.kind = kind
        self.message = message
        self.hint = hint
    }

    public var description: String { message }

    /// `'name' at byte N: reason`, the shape of every complaint about a file's content.
    public static func badData(
        _ name: String, byte: some BinaryInteger, _ reason: String, hint: String? = nil
    ) -> Fault {
        Fault(.badData, "\(quoted(name)) at byte \(byte): \(reason)", hint: hint)
    }

    public static func badData(_ name: String, _ reason: String, hint: String? = nil) -> Fault {
        Fault(.badData, "\(quoted(name)): \(reason)", hint: hint)
    }

    package static func opening(_ path: FilePath, _ error: any Error) -> Fault {
        Fault(.noInput, "cannot open \(quoted(path.string)): \(reason(of: error))")
    }

    package static func creating(_ path: FilePath, _ error: any Error) -> Fault {
        Fault(.cannotCreate, "cannot create \(quoted(path.string)): \(reason(of: error))")
    }

    package static func reading(_ name: String, _ error: any Error) -> Fault {
        Fault(.inputOutput, "cannot read \(quoted(name)): \(reason(of: error))")
    }

    package static func writing(_ name: String, _ error: any Error) -> Fault {
        Fault(.inputOutput, "cannot write \(quoted(name)): \(reason(of: error))")
    }

    package static func reason(of error: any Error) -> String {
        guard let errno = error as? Errno else { return "\(error)" }
        return errno.description
    }
}

/// `name` in single quotes with control characters made visible, so that a hostile file name or tensor name cannot
/// drive the terminal it is printed on.
public func quoted(_ name: String) -> String { "'" + printable(name) + "'" }

/// `text` with every control character (C0, DEL, C1) and direction override written as `\u{…}`.
public func printable(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
        switch scalar.value {
        case 0..<0x20, 0x7f..<0xa0, 0x202a...0x202e, 0x2066...0x2069:
            result += "\\u{" + String(scalar.value, radix: 16) + "}"
        default: result.unicodeScalars.append(scalar)
        }
    }
    return result
}
