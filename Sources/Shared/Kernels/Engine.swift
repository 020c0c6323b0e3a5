// The thread pool and workspace that kernels run on, and the one owner of the C context. Kernels are its methods, in
// files by topic: Engine+Gemm, Engine+Rows, Engine+Attention, Engine+Optimizer.

public import Bytes
internal import CKernels

/// A pool of threads that runs kernels of one instruction set. Not for concurrent use: one kernel at a time.
@safe
public final class Engine {
    // SAFETY: owned; made in init, destroyed in deinit; every use is a method of this class.
    let context: OpaquePointer

    public let instructionSet: InstructionSet

    /// - Parameters:
    ///   - threads: how many, the caller's included; 0 = the CPUs that this process may run on.
    ///   - instructionSet: nil = what MILLRACE_ISA says, else the widest.
    /// - Throws: `Fault` (usage) for an instruction set this processor lacks or threads the system does not give.
    public init(threads: Int = 0, instructionSet: InstructionSet? = nil) throws(Fault) {
        let set: InstructionSet
        if let instructionSet { set = instructionSet } else { set = try .chosen() }
        guard set.isSupported else { throw Fault(.usage, "this processor has no \(set.rawValue)") }
        guard (0...1024).contains(threads), let context = unsafe mr_context_create(Int32(threads), set.code) else {
            throw Fault(.usage, "cannot start \(threads) threads, expected 0 to 1024 that the system can give")
        }
        unsafe self.context = context
        self.instructionSet = set
    }

    deinit { unsafe mr_context_destroy(context) }

    public var threads: Int { Int(unsafe mr_context_threads(context)) }

    /// Floating-point operations a second that its threads can do in fused multiply-adds of fp32, all at once: measured now, in
    /// about ten milliseconds.
    public func measurePeakRate() -> Double { unsafe mr_peak_rate(context) }

    /// Bytes of panels and scratch, for the memory plan.
    public var workspaceBytes: Int { Int(unsafe mr_context_bytes(context)) }
}
