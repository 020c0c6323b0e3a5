// A run: its checkpoints, and the links that say which one to go on from, which was best, which was the last known to be
// healthy. At every instant there is a valid checkpoint to be found, whatever dies.

public import Bytes
public import SystemPackage

/// The directory of one training run.
public final class RunDirectory: Sendable {
    public enum Access: Sendable {
        /// Looks only: takes no lock and changes nothing.
        case read
        /// Makes the directory if need be, takes the run's lock, and clears away what a killed run left.
        case write
    }

    /// A symbolic link beside the checkpoints, relative, replaced in one rename.
    public enum Link: String, Sendable, CaseIterable {
        /// The newest published checkpoint: where a resume begins.
        case latest
        /// The one with the lowest validation loss.
        case best
        /// The newest one saved while no guard was raised.
        case lastGood = "last-good"
    }

    /// A checkpoint of the run by name; it may turn out not to be valid.
    public struct Step: Sendable, Hashable {
        public let step: Int
        /// `step-00001000`
        public let name: String
    }

    private static let lockName = ".lock"

    public let path: FilePath
    private let lock: FileLock?
    /// Directories that were not there before, the outermost first.
    private let made: [FilePath]

    /// - Throws: `Fault`: no such directory, in use by another process, not writable.
    public init(_ path: FilePath, access: Access) throws(Fault) {
        self.path = path
        switch access {
        case .read:
            lock = nil
            made = []
            if FileSystem.kind(of: path) != .directory {
                throw Fault(.noInput, "cannot open \(quoted(path.string)): no such directory")
            }
        case .write:
            made = try FileSystem.makeDirectory(path)
            lock = try FileLock(path.appending(RunDirectory.lockName), subject: path.string)
            try cleanUp()
        }
    }

    /// A run that never began leaves nothing: what was made for it goes while nothing but its own lock is in it.
    deinit {
        guard let lock, lock.isNew, (try? FileSystem.list(path)) == [RunDirectory.lockName] else { return }
        lock.removeFile()
        for directory in made.reversed() { FileSystem.removeEmptyDirectory(directory) }
    }

    /// The directory name of a step: at least eight digits.
    public static func name(of step: Int) -> String {
        precondition(step >= 0, "a step is not negative: \(step)")
        let digits = String(step)
        return "step-" + String(repeating: "0", count: max(0, 8 - digits.count)) + digits
    }

    public func path(of step: Int) -> FilePath { path.appending(RunDirectory.name(of: step)) }

    /// The checkpoints of the run, oldest step first, valid or not.
    public func steps() throws(Fault) -> [Step] {
        var steps: [Step] = []
        for name in try FileSystem.list(path) {
            if let step = RunDirectory.step(of: name), FileSystem.kind(of: path.appending(name)) == .directory {
                steps.append(Step(step: step, name: name))
            }
        }
        return steps.sorted { $0.step < $1.step }
    }

    /// The step that a link points at; nil when there is no such link or it points elsewhere.
    public func step(of link: Link) -> Int? {
        FileSystem.linkTarget(path.appending(link.rawValue)).flatMap { RunDirectory.step(of: $0) }
    }

    /// Points a link at a step's checkpoint, which must be there.
    public func point(_ link: Link, at step: Int) throws(Fault) {
        guard FileSystem.kind(of: path(of: step)) == .directory else {
            throw Fault(.noInput, "\(quoted(path.string)) has no checkpoint of step \(step)")
        }
        try FileSystem.replaceLink(path.appending(link.rawValue), target: RunDirectory.name(of: step))
    }

    /// nil unless `name` is exactly what `name(of:)` gives for some step.
    static func step(of name: String) -> Int? {
        guard name.hasPrefix("step-"), let step = Int(name.dropFirst(5)), step >= 0, RunDirectory.name(of: step) == name
        else { return nil }
        return step
    }
}
