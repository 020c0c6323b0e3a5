// What is asked of many numbers at once: how large they are together, and how large the largest is. Sums of squares in
// double, in the order of `Engine.sumOfSquares`: the same on any number of threads and any instruction set.

/// How large the elements of a tensor are.
public struct Magnitude: Sendable, Equatable {
    public var count = 0
    /// Σ x².
    public var squares = 0.0
    /// max |x|; NaN when any element is.
    public var largest: Float = 0

    public init(count: Int = 0, squares: Double = 0, largest: Float = 0) {
        self.count = count
        self.squares = squares
        self.largest = largest
    }

    /// √Σ x².
    public var norm: Double { squares.squareRoot() }

    /// The largest magnitude over the root mean square: 1 where all are alike, √count where all but one are 0. nil when all
    /// are 0, or there are none.
    public var outlier: Double? {
        squares == 0 ? nil : Double(largest) / (squares / Double(count)).squareRoot()
    }

    /// As if `other`'s elements followed: sums are added in that order.
    public mutating func append(_ other: Magnitude) {
        count += other.count
        squares += other.squares
        if !(other.largest <= largest) && !largest.isNaN { largest = other.largest }
    }
}

/// What parameters went through in an update.
public struct UpdateSquares: Sendable, Equatable {
    /// Σ (after − before)².
    public var update = 0.0
    /// Σ before².
    public var weight = 0.0

    public init(update: Double = 0, weight: Double = 0) {
        self.update = update
        self.weight = weight
    }

    public static func + (a: UpdateSquares, b: UpdateSquares) -> UpdateSquares {
        UpdateSquares(update: a.update + b.update, weight: a.weight + b.weight)
    }
}
