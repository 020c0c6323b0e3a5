// Commands of the user's that are told what a run does. They are told, not asked: whatever they answer, the run goes on to
// the same bytes. They are no part of run.json: a run's directory that was copied from elsewhere must not bring commands.

/// What to run when, and for how long at most.
public struct TrainingHooks: Sendable, Equatable {
    public enum Event: String, Sendable, CaseIterable {
        /// A checkpoint was published.
        case checkpoint
        /// An evaluation was recorded.
        case evaluation
        /// The run ends, for whatever reason.
        case stop

        /// The option's name, which messages, records and `MILLRACE_HOOK` have.
        public var name: String { "on-" + rawValue }
    }

    /// Given to `sh -c`.
    public var commands: [Event: String] = [:]
    /// Seconds that a command has.
    public var timeout = 60.0

    /// Seconds that a command has when the run was asked to stop before it began: a run ends within two.
    static let timeoutWhenInterrupted = 0.5

    public init() {}
}
