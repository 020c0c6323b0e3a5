// Threads that share state: a monitor (mutex + condition) and a worker thread. Blocking reads and compression do not
// belong on Swift's cooperative pool, which expects its threads never to block.

#if canImport(Glibc)
    private import Glibc
#elseif canImport(Musl)
    private import Musl
#else
    private import Darwin
#endif

/// State behind a lock, with waiting. (Hoare 1974.)
@safe
public final class Monitor<State>: @unchecked Sendable {
    // SAFETY: `state` is touched only with the mutex held; mutex and condition live at fixed addresses until deinit.
    private var state: State
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>

    public init(_ state: sending State) {
        self.state = state
        unsafe mutex = .allocate(capacity: 1)
        unsafe condition = .allocate(capacity: 1)
        unsafe mutex.initialize(to: pthread_mutex_t())
        unsafe condition.initialize(to: pthread_cond_t())
        unsafe pthread_mutex_init(mutex, nil)
        unsafe pthread_cond_init(condition, nil)
    }

    deinit {
        unsafe pthread_cond_destroy(condition)
        unsafe pthread_mutex_destroy(mutex)
        unsafe mutex.deallocate()
        unsafe condition.deallocate()
    }

    /// Changes the state and wakes every waiter to look again.
    public func update<Result>(_ body: (inout State) throws -> Result) rethrows -> Result {
        unsafe pthread_mutex_lock(mutex)
        defer { unlockAndWake() }
        return try body(&state)
    }

    /// In this order: whoever is woken needs the lock, and would go to sleep again at once.
    private func unlockAndWake() {
        unsafe pthread_mutex_unlock(mutex)
        unsafe pthread_cond_broadcast(condition)
    }

    /// Blocks until `body` gives a result; it is asked again after every update.
    public func wait<Result>(for body: (inout State) -> Result?) -> Result {
        unsafe pthread_mutex_lock(mutex)
        defer { unlockAndWake() }
        while true {
            if let result = body(&state) { return result }
            unsafe pthread_cond_wait(condition, mutex)
        }
    }

    /// As `wait`, giving up (nil) after about `milliseconds`.
    public func wait<Result>(milliseconds: Int, for body: (inout State) -> Result?) -> Result? {
        var deadline = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &deadline)
        deadline.tv_sec += milliseconds / 1000
        deadline.tv_nsec += milliseconds % 1000 * 1_000_000
        if deadline.tv_nsec >= 1_000_000_000 {
            deadline.tv_sec += 1
            deadline.tv_nsec -= 1_000_000_000
        }
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        while true {
            if let result = body(&state) {
                unsafe pthread_cond_broadcast(condition)
                return result
            }
            if unsafe pthread_cond_timedwait(condition, mutex, &deadline) == ETIMEDOUT { return body(&state) }
        }
    }
}

/// A thread that runs one closure. Join it before what it uses goes away.
public final class WorkerThread: Sendable {
    private let handle: Monitor<pthread_t?>

    private final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    /// - Throws: `Fault` (input/output) when the system gives no thread.
    public init(_ body: @escaping @Sendable () -> Void) throws(Fault) {
        // SAFETY: the retained body is released by exactly one side: the thread that takes it, or the error path.
        let retained = unsafe Unmanaged.passRetained(Body(body))
        #if canImport(Darwin)
            var thread: pthread_t?
            let code = unsafe pthread_create(&thread, nil, { runWorkerBody($0) }, retained.toOpaque())
        #else
            var thread = pthread_t()
            let code = unsafe pthread_create(&thread, nil, { unsafe runWorkerBody($0!) }, retained.toOpaque())
        #endif
        if code != 0 {
            unsafe retained.release()
            throw Fault(.inputOutput, "cannot start a thread: error \(code)")
        }
        handle = Monitor(thread)
    }

    /// Waits until the closure has returned. Harmless when called again.
    public func join() {
        let thread = handle.update { handle in
            defer { handle = nil }
            return handle
        }
        if let thread { pthread_join(thread, nil) }
    }

    fileprivate static func run(_ pointer: UnsafeMutableRawPointer) {
        // SAFETY: takes back the reference that init passed.
        unsafe Unmanaged<Body>.fromOpaque(pointer).takeRetainedValue().run()
    }
}

private func runWorkerBody(_ pointer: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? {
    unsafe WorkerThread.run(pointer)
    return nil
}
