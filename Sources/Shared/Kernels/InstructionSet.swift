// The instruction sets that kernels are compiled for. All give the same bits; they differ in speed. avx512bf16 is avx512 with
// dot products of bf16, which is the slower of the two on some processors.

public import Bytes
internal import CKernels

/// A vector unit to run on.
public enum InstructionSet: String, Sendable, CaseIterable {
    case scalar, avx2, avx512, avx512bf16, neon

    var code: mr_isa {
        switch self {
        case .scalar: MR_ISA_SCALAR
        case .avx2: MR_ISA_AVX2
        case .avx512: MR_ISA_AVX512
        case .avx512bf16: MR_ISA_AVX512_BF16
        case .neon: MR_ISA_NEON
        }
    }

    /// Whether this processor has it.
    public var isSupported: Bool { mr_isa_supported(code) }

    /// Those that this processor has, scalar first.
    public static var supported: [InstructionSet] { allCases.filter(\.isSupported) }

    /// The widest that this processor has; of those that differ in products of bf16 only, the faster one.
    public static var best: InstructionSet {
        let best = mr_isa_best()
        return allCases.first { $0.code == best } ?? .scalar
    }

    /// What the environment variable MILLRACE_ISA names, else the widest.
    /// - Throws: `Fault` (usage) for a name that is unknown or not supported here.
    public static func chosen() throws(Fault) -> InstructionSet {
        guard let name = Host.environment("MILLRACE_ISA"), !name.isEmpty else { return best }
        guard let set = InstructionSet(rawValue: name) else {
            throw Fault(
                .usage,
                "MILLRACE_ISA is \(quoted(name)), expected one of \(allCases.map(\.rawValue).joined(separator: ", "))")
        }
        guard set.isSupported else {
            throw Fault(
                .usage, "MILLRACE_ISA is '\(name)', which this processor does not have",
                hint: "it has \(supported.map(\.rawValue).joined(separator: ", "))")
        }
        return set
    }
}
