// What the machine is: the facts that run.json records and that defaults are derived from.

private import CKernels
private import Synchronization

#if canImport(Glibc)
    private import Glibc
#elseif canImport(Musl)
    private import Musl
#else
    private import Darwin
#endif

public enum Host {
    /// Keeps memory that is freed for what is allocated next. For a tool that makes and drops buffers of some hundred
    /// kilobytes all the time: glibc would give each of them back to the system, which clears it before it comes again.
    public static func keepFreedMemory() {
        mr_keep_freed_memory()
    }

    /// CPUs that this process may run on.
    public static var processors: Int {
        #if os(Linux)
            // The affinity mask, as the kernel prints it: cpu_set_t's macros are out of Swift's reach.
            if let status = try? FileSource.open("/proc/self/status").read(filling: 1 << 16),
                let line = String(decoding: status, as: UTF8.self).split(separator: "\n").first(where: {
                    $0.hasPrefix("Cpus_allowed:")
                })
            {
                let count = line.dropFirst("Cpus_allowed:".count).reduce(0) {
                    $0 + ($1.hexDigitValue?.nonzeroBitCount ?? 0)
                }
                if count > 0 { return count }
            }
        #endif
        return max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    }

    /// Physical memory in bytes.
    public static var memory: Int { sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE)) }

    /// Bytes that this process may still hope to get: physical memory, or what a limit on its address space leaves.
    public static var memoryLimit: Int {
        var limit = rlimit()
        #if canImport(Darwin)
            let result = unsafe getrlimit(RLIMIT_AS, &limit)
        #else
            let result = unsafe getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit)
        #endif
        guard result == 0, limit.rlim_cur < UInt64(memory) * 64 else { return memory }
        // Thread stacks and libraries come out of the same address space.
        let used = (statm(field: 0) ?? 0) + 64 << 20
        return min(memory, max(0, Int(limit.rlim_cur) - used))
    }

    /// Bytes that this process holds now.
    public static var residentBytes: Int {
        guard let bytes = statm(field: 1) else { return peakResidentBytes }
        _ = largestSeen.max(bytes, ordering: .relaxed)
        return bytes
    }

    /// The most that `residentBytes` has said.
    private static let largestSeen = Atomic<Int>(0)

    /// A field of Linux's /proc/self/statm, in bytes.
    private static func statm(field: Int) -> Int? {
        guard let text = try? FileSource.open("/proc/self/statm").read(filling: 256) else { return nil }
        let fields = String(decoding: text, as: UTF8.self).split(separator: " ")
        guard field < fields.count, let pages = Int(fields[field]) else { return nil }
        return pages * sysconf(Int32(_SC_PAGESIZE))
    }

    public static var name: String {
        // SAFETY: gethostname writes at most the capacity and we end the string ourselves.
        unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 257) { buffer in
            unsafe buffer.initialize(repeating: 0)
            return unsafe gethostname(buffer.baseAddress!, 256) == 0 ? String(cString: buffer.baseAddress!) : "unknown"
        }
    }

    /// Seconds since 1970.
    public static var wallClock: Double { seconds(CLOCK_REALTIME) }
    /// Seconds that never go back.
    public static var monotonicClock: Double { seconds(CLOCK_MONOTONIC) }

    private static func seconds(_ clock: clockid_t) -> Double {
        var time = timespec()
        unsafe clock_gettime(clock, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }

    /// Waits; a signal may end it early.
    public static func sleep(seconds: Double) {
        var time = timespec(tv_sec: Int(seconds), tv_nsec: Int((seconds - seconds.rounded(.down)) * 1e9))
        // SAFETY: nanosleep reads the struct.
        unsafe _ = nanosleep(&time, nil)
    }

    /// An environment variable.
    public static func environment(_ name: String) -> String? {
        // SAFETY: the value is copied at once; no thread of ours changes the environment.
        guard let value = unsafe getenv(name) else { return nil }
        return unsafe String(cString: value)
    }

    /// The largest amount of memory this process has held so far, in bytes: never less than what `residentBytes` has said.
    public static var peakResidentBytes: Int {
        var usage = rusage()
        #if canImport(Darwin)
            unsafe getrusage(RUSAGE_SELF, &usage)
            let system = usage.ru_maxrss
        #else
            unsafe getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
            let system = usage.ru_maxrss * 1024
        #endif
        // Linux brings its own peak up to date only now and then, statm's figure always.
        return largestSeen.max(max(system, statm(field: 1) ?? 0), ordering: .relaxed).newValue
    }

    /// Processor time of all threads of this process so far, in seconds.
    public static var processorSeconds: Double {
        var usage = rusage()
        #if canImport(Darwin)
            unsafe getrusage(RUSAGE_SELF, &usage)
        #else
            unsafe getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        #endif
        return Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
            + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6
    }

    /// `2026-01-31T12:00:00Z` for seconds since 1970 (ISO 8601, UTC).
    public static func timestamp(_ seconds: Double) -> String {
        var time = time_t(seconds)
        // SAFETY: gmtime_r fills the struct that it is given; strftime ends its text within the capacity.
        var parts = unsafe tm()
        unsafe gmtime_r(&time, &parts)
        return unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { buffer in
            let count = unsafe strftime(buffer.baseAddress!, 64, "%Y-%m-%dT%H:%M:%SZ", &parts)
            return unsafe String(
                decoding: UnsafeRawBufferPointer(UnsafeBufferPointer(rebasing: buffer[..<count])), as: UTF8.self)
        }
    }
}
