// What of a step is worth watching beside its loss: how large gradient, update and weights are, of all parameters and of their
// groups, and how far the largest numbers stand out. Sums in double, in an order that the model alone decides: no figure
// depends on threads, instruction set or micro-batches.

public import Kernels

/// Which steps are measured, and how closely. No bit of a run depends on it.
public struct NormOptions: Sendable, Equatable {
    /// Steps from one that is measured to the next; 0: none is.
    public var every: Int
    /// Each layer is a group too.
    public var byLayer: Bool

    public init(every: Int = 10, byLayer: Bool = false) {
        self.every = every
        self.byLayer = byLayer
    }

    /// The first step, and every `every`-th: decided by the step's number, so that a resumed run measures the same ones.
    func isDue(step: Int) -> Bool { every > 0 && (step == 1 || step % every == 0) }
}

/// What was measured of one step. Only parameters that learned in it count.
public struct StepNorms: Sendable, Equatable {
    /// Some of the parameters.
    public struct Group: Sendable, Equatable {
        /// A part of the network, `attention`, or a layer, `layer_0`; empty: all parameters.
        public let name: String
        /// Σ g² before clipping.
        public internal(set) var gradientSquares = 0.0
        /// Over its tensors the highest ratio of a gradient's largest magnitude to its root mean square; nil where all are 0.
        public internal(set) var gradientOutlier: Double?
        /// What the step added to the parameters, and what they were before; nil: the update was left out.
        public internal(set) var moved: UpdateSquares?

        public var gradientNorm: Double { gradientSquares.squareRoot() }
        public var updateNorm: Double? { moved?.update.squareRoot() }
        public var weightNorm: Double? { moved?.weight.squareRoot() }
        /// nil also where all weights were 0.
        public var updateToWeightRatio: Double? {
            guard let moved, moved.weight != 0 else { return nil }
            return moved.update.squareRoot() / moved.weight.squareRoot()
        }

        mutating func add(_ gradient: Magnitude, _ moved: UpdateSquares?) {
            add(squares: gradient.squares, outlier: gradient.outlier, moved)
        }

        mutating func add(_ other: Group) {
            add(squares: other.gradientSquares, outlier: other.gradientOutlier, other.moved)
        }

        private mutating func add(squares: Double, outlier: Double?, _ moved: UpdateSquares?) {
            gradientSquares += squares
            gradientOutlier = StepNorms.larger(gradientOutlier, outlier)
            if let moved { self.moved = (self.moved ?? UpdateSquares()) + moved }
        }
    }

    /// The residual stream at one place.
    public struct Stream: Sendable, Equatable {
        /// The group whose output it is: `embedding` or `layer_0`.
        public let name: String
        public internal(set) var magnitude = Magnitude()
    }

    /// All parameters; its sums are those of the parts of the network, added in order.
    public internal(set) var all = Group(name: "")
    /// Parts of the network, then layers; those in which nothing learned are left out.
    public internal(set) var groups: [Group] = []
    /// The residual stream as it entered the first layer and left each, all positions of the batch.
    public internal(set) var streams: [Stream] = []

    /// Over the places of the residual stream the highest ratio of its largest magnitude to its root mean square.
    public var activationOutlier: Double? {
        streams.reduce(nil) { StepNorms.larger($0, $1.magnitude.outlier) }
    }

    /// The larger one; what is not a number is larger than all.
    private static func larger(_ a: Double?, _ b: Double?) -> Double? {
        guard let a, let b else { return a ?? b }
        return a.isNaN || b.isNaN ? .nan : max(a, b)
    }
}
