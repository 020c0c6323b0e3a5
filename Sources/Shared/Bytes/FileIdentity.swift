// Which file stands at a path, so that a follower sees when another took its place.

/// A file's device and number, and its size at one moment.
public struct FileIdentity: Sendable, Equatable {
    public let device: UInt64
    public let node: UInt64
    public let size: Int

    public func isSameFile(as other: FileIdentity) -> Bool { device == other.device && node == other.node }
}
