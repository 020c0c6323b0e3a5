// What can be said of a tensor's values in two passes over them: the first for the sums and the range, the second for what
// needs them. float64 throughout, element by element in order.

public import Bytes

/// Numbers about one tensor. All but the counts are of its finite values only.
public struct TensorStatistics: Sendable, Equatable {
    public private(set) var count = 0
    public private(set) var nanCount = 0
    public private(set) var infiniteCount = 0
    public private(set) var zeroCount = 0
    /// Euclidean.
    public private(set) var norm = 0.0
    /// nil when no value is finite, as the four below.
    public private(set) var mean: Double?
    /// Of the population, not of a sample.
    public private(set) var deviation: Double?
    public private(set) var minimum: Double?
    public private(set) var maximum: Double?
    /// How many values lie in each of equally wide bins from `minimum` to `maximum`, the right edge in the last; when
    /// all values are the same, from half below to half above it (numpy.histogram's rules).
    public private(set) var histogram: [Int] = []

    public var nonFiniteCount: Int { nanCount + infiniteCount }

    /// Reads the tensor to the end, twice, its digest checked where there is one.
    /// - Parameter bins: of the histogram; 0 for none, and then no deviation either: the tensor is read once.
    /// - Returns: nil for a type that is not decoded (float8 and smaller, complex).
    public static func of(_ tensor: ModelTensor, bins: Int = 16) throws(Fault) -> TensorStatistics? {
        guard tensor.dtype.doubles([]) != nil else { return nil }
        var result = TensorStatistics()
        var sum = 0.0
        var squares = 0.0
        var (least, greatest) = (Double.infinity, -Double.infinity)
        var reader = tensor.reader()
        while let bytes = try reader.next() {
            for value in tensor.dtype.doubles(bytes) ?? [] {
                guard value.isFinite else {
                    if value.isNaN { result.nanCount += 1 } else { result.infiniteCount += 1 }
                    continue
                }
                if value == 0 { result.zeroCount += 1 }
                sum += value
                squares += value * value
                least = min(least, value)
                greatest = max(greatest, value)
            }
        }
        result.count = tensor.elementCount
        let finite = result.count - result.nonFiniteCount
        result.norm = squares.squareRoot()
        if finite == 0 {
            result.histogram = [Int](repeating: 0, count: bins)
            return result
        }
        let mean = sum / Double(finite)
        (result.mean, result.minimum, result.maximum) = (mean, least, greatest)
        if bins == 0 { return result }
        let edges = edges(least, greatest, bins)
        var counts = [Int](repeating: 0, count: bins)
        var deviations = 0.0
        let scale = Double(bins) / (edges[bins] - edges[0])
        reader = tensor.reader()
        while let bytes = try reader.next() {
            for value in tensor.dtype.doubles(bytes) ?? [] where value.isFinite {
                deviations += (value - mean) * (value - mean)
                let place = (value - edges[0]) * scale
                var bin = place.isFinite ? min(bins - 1, max(0, Int(place))) : 0
                while bin > 0 && value < edges[bin] { bin -= 1 }
                while bin < bins - 1 && value >= edges[bin + 1] { bin += 1 }
                counts[bin] += 1
            }
        }
        result.deviation = (deviations / Double(finite)).squareRoot()
        result.histogram = counts
        return result
    }

    private static func edges(_ least: Double, _ greatest: Double, _ bins: Int) -> [Double] {
        let (low, high) = least == greatest ? (least - 0.5, greatest + 0.5) : (least, greatest)
        let step = (high - low) / Double(bins)
        return (0...bins).map { $0 == bins ? high : low + Double($0) * step }
    }
}
