// The inputs of an ingest: several files, FIFOs or standard input read one after the other, from any position.

internal import Bytes
private import SystemPackage

/// A place between documents in the list of inputs.
public struct InputPosition: Sendable, Hashable {
    /// Index of the input.
    public var input = 0
    /// Bytes of it before this place.
    public var offset = 0
    /// Lines of it before this place, for formats that have lines.
    public var line = 0

    public init(input: Int = 0, offset: Int = 0, line: Int = 0) {
        self.input = input
        self.offset = offset
        self.line = line
    }
}

/// Opens `path` (`-` is standard input) to be read from byte `offset` on. A regular file is read by offset; what
/// cannot be sought is read and dropped up to there.
func openInput(_ path: String, at offset: Int) throws(Fault) -> any ByteSource {
    if path != "-", FileSystem.kind(of: FilePath(path)) == .file {
        let file = try InputFile(FilePath(path))
        if offset > file.size {
            throw .badData(path, byte: file.size, "expected at least \(offset) bytes, found \(file.size)")
        }
        return RangedByteSource(file, offset: offset)
    }
    let source = try FileSource.open(path)
    var left = offset
    while left > 0 {
        let count = try source.read(upTo: min(left, 1 << 18)).count
        if count == 0 {
            throw .badData(
                source.name, byte: offset - left, "expected at least \(offset) bytes, as in the run that is resumed")
        }
        left -= count
    }
    return source
}
