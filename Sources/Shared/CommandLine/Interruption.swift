// SIGINT and SIGTERM: the first asks the tool to finish its step, save and exit 75; the second ends it at once.

private import Bytes
private import Synchronization

#if canImport(Glibc)
    private import Glibc
#elseif canImport(Musl)
    private import Musl
#else
    private import Darwin
#endif

private let requested = Atomic<Bool>(false)

/// Whether the user or the system has asked us to stop.
public enum Interruption {
    /// Installs the handlers. Call before threads are started.
    public static func install() {
        FileSource.interruptionProbe.withLock { $0 = InterruptionProbe { isRequested } }
        _ = requested.load(ordering: .relaxed)  // made now: the handler must not be the one that initializes it
        for number in [SIGINT, SIGTERM] {
            var action = sigaction()
            #if canImport(Darwin)
                unsafe action.__sigaction_u.__sa_handler = { handle($0) }
            #else
                unsafe action.__sigaction_handler.sa_handler = { handle($0) }
            #endif
            // No SA_RESTART: a blocked read returns, and whoever waits for input can look at the flag.
            action.sa_flags = 0
            unsafe _ = sigaction(number, &action, nil)
        }
        unblock()
    }

    /// For a tool that has nothing to save: the first signal ends it with `ExitStatus.interrupted`, also while it is
    /// blocked on a pipe. Call before threads are started.
    public static func exitAtOnce() {
        for number in [SIGINT, SIGTERM] {
            var action = sigaction()
            #if canImport(Darwin)
                unsafe action.__sigaction_u.__sa_handler = { _ in _exit(ExitStatus.interrupted.rawValue) }
            #else
                unsafe action.__sigaction_handler.sa_handler = { _ in _exit(ExitStatus.interrupted.rawValue) }
            #endif
            unsafe _ = sigaction(number, &action, nil)
        }
        unblock()
    }

    /// A parent may have started us from a thread that blocks signals (test runners and dispatch queues do), and the mask
    /// is inherited: without this a request to stop would wait for ever.
    private static func unblock() {
        var signals = sigset_t()
        unsafe sigemptyset(&signals)
        for number in [SIGINT, SIGTERM] { unsafe sigaddset(&signals, number) }
        unsafe pthread_sigmask(SIG_UNBLOCK, &signals, nil)
    }

    /// True from the first signal on.
    public static var isRequested: Bool { requested.load(ordering: .relaxed) }
}

private func handle(_ number: Int32) {
    if requested.exchange(true, ordering: .relaxed) { _exit(128 + number) }
}
