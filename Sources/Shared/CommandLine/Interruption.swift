// SIGINT, SIGTERM and, where nohup(1) did not ask for the opposite, SIGHUP: the first asks the tool to finish its step, save
// and exit 75, or to remove what it had begun to write; the second ends it at once.

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
    /// - Parameter abandonsWrites: for a tool that has nothing to save: the writing of files ends too, and what was written is
    ///   removed.
    public static func install(abandonsWrites: Bool = false) {
        FileSource.interruptionProbe.withLock { $0 = InterruptionProbe { isRequested } }
        if abandonsWrites { PendingWrites.interruptionProbe.withLock { $0 = InterruptionProbe { isRequested } } }
        _ = requested.load(ordering: .relaxed)  // made now: the handler must not be the one that initializes it
        for number in [SIGINT, SIGTERM, SIGHUP] where number != SIGHUP || !isIgnored(number) {
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

    private static func isIgnored(_ number: Int32) -> Bool {
        var action = sigaction()
        unsafe _ = sigaction(number, nil, &action)
        // SAFETY: a handler is a pointer, or one of the small numbers that stand for none; it is only compared.
        #if canImport(Darwin)
            return unsafe unsafeBitCast(action.__sigaction_u.__sa_handler, to: Int.self)
                == unsafeBitCast(SIG_IGN, to: Int.self)
        #else
            return unsafe unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self)
                == unsafeBitCast(SIG_IGN, to: Int.self)
        #endif
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
        for number in [SIGINT, SIGTERM, SIGHUP] { unsafe sigaddset(&signals, number) }
        unsafe pthread_sigmask(SIG_UNBLOCK, &signals, nil)
    }

    /// True from the first signal on.
    public static var isRequested: Bool { requested.load(ordering: .relaxed) }
}

private func handle(_ number: Int32) {
    // A terminal that goes away may say so twice, by the shell and by the kernel.
    if requested.exchange(true, ordering: .relaxed) && number != SIGHUP { _exit(128 + number) }
}
