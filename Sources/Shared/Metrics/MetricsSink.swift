// Where a run's records go: a file, and whatever an embedder adds.

public import Bytes

/// Takes the records of a run, in order of their steps. A run that was resumed goes on where its checkpoint stands: what is
/// newer than that comes once more, and the later record counts.
public protocol MetricsSink: AnyObject {
    /// - Throws: `Fault`, which ends the run; a sink that may fail without harm keeps that to itself.
    func append(_ record: MetricsRecord) throws(Fault)
    /// Called before the checkpoint that the records led to is published.
    func synchronize() throws(Fault)
}

extension MetricsSink {
    public func synchronize() throws(Fault) {}
}

extension MetricsWriter: MetricsSink {}

/// Several sinks as one.
public final class MetricsRelay: MetricsSink {
    private let sinks: [any MetricsSink]

    public init(_ sinks: [any MetricsSink]) { self.sinks = sinks }

    public func append(_ record: MetricsRecord) throws(Fault) { for sink in sinks { try sink.append(record) } }
    public func synchronize() throws(Fault) { for sink in sinks { try sink.synchronize() } }
}
