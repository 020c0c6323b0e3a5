// The safetensors header and its rules (docs/formats/checkpoint.md). Parsing needs the header's bytes and the size of
// the file and nothing else, so that a test can try every header without writing files.

package import Bytes

/// A checked header: every tensor lies inside the file, and together they tile the buffer.
package struct SafetensorsHeader: Sendable {
    package static let maximumLength = 100_000_000

    /// In the order of their bytes.
    package let tensors: [TensorEntry]
    package let metadata: [String: String]

    /// The header's length from the first eight bytes of a file.
    /// - Throws: `Fault` (bad data) when the file cannot hold it.
    package static func length(prefix: [UInt8], fileSize: Int, name: String) throws(Fault) -> Int {
        guard let declared = prefix.littleEndian(at: 0, as: UInt64.self) else {
            throw .badData(name, byte: fileSize, "expected 8 bytes of header length, found the end of the file")
        }
        guard declared <= UInt64(maximumLength) else {
            throw .badData(name, byte: 0, "header length \(declared) is more than the \(maximumLength) allowed")
        }
        guard Int(declared) <= fileSize - 8 else {
            throw .badData(name, byte: 0, "header length \(declared) does not fit the file of \(fileSize) bytes")
        }
        return Int(declared)
    }

    /// - Parameters:
    ///   - bytes: the header's JSON, which begins at byte 8 of the file.
    ///   - fileSize: of the whole file, in bytes.
    package init(parsing bytes: [UInt8], fileSize: Int, name: String) throws(Fault) {
        guard case .object(let object) = try JSON(parsing: bytes, name: name, base: 8) else {
            throw .badData(name, byte: 8, "expected a JSON object as header")
        }
        let dataStart = 8 + bytes.count
        var metadata: [String: String] = [:]
        var tensors: [TensorEntry] = []
        for (key, value) in object.members {
            func fault(_ reason: String) -> Fault {
                .badData(name, byte: 8 + SafetensorsHeader.position(of: key, in: bytes), reason)
            }
            if key == "__metadata__" {
                guard let members = value.objectValue?.members else { throw fault("__metadata__ is no object") }
                for (key, value) in members {
                    guard let text = value.stringValue else {
                        throw fault("__metadata__ holds \(quoted(key)), which is no string")
                    }
                    metadata[key] = text
                }
                continue
            }
            tensors.append(
                try SafetensorsHeader.entry(key, value, dataStart: dataStart, fileSize: fileSize, fault: fault))
        }
        tensors.sort {
            ($0.byteRange.lowerBound, $0.byteRange.upperBound) < ($1.byteRange.lowerBound, $1.byteRange.upperBound)
        }
        var end = dataStart
        for tensor in tensors {
            let begin = tensor.byteRange.lowerBound
            if begin < end {
                throw .badData(name, byte: begin, "tensor \(quoted(tensor.name)) overlaps the tensor before it")
            }
            if begin > end {
                throw .badData(
                    name, byte: end, "a hole of \(begin - end) bytes before tensor \(quoted(tensor.name))")
            }
            end = tensor.byteRange.upperBound
        }
        if end != fileSize {
            let extra = fileSize - end
            throw .badData(
                name, byte: end, "expected the end of the file after the last tensor, found \(extra) more bytes")
        }
        self.tensors = tensors
        self.metadata = metadata
    }

    private static func entry(
        _ name: String, _ value: JSON, dataStart: Int, fileSize: Int, fault: (String) -> Fault
    ) throws(Fault) -> TensorEntry {
        let subject = "tensor \(quoted(name))"
        guard value.objectValue != nil else { throw fault("\(subject) is no object") }
        guard let spelling = value["dtype"]?.stringValue else { throw fault("\(subject) has no dtype") }
        guard let dtype = DataType(rawValue: spelling) else {
            throw fault("\(subject) has unknown dtype \(quoted(spelling))")
        }
        guard let dimensions = value["shape"]?.arrayValue else { throw fault("\(subject) has no shape") }
        var shape: [Int] = []
        for dimension in dimensions {
            guard case .integer(let size) = dimension, size >= 0 else {
                throw fault("\(subject) has a dimension that is no size: \(dimension.compact)")
            }
            shape.append(size)
        }
        guard let byteCount = TensorEntry.checkedByteCount(dtype, shape) else {
            throw fault("\(subject) of shape \(shape) and dtype \(dtype) has no size in bytes (overflow or split byte)")
        }
        guard let offsets = value["data_offsets"]?.arrayValue, offsets.count == 2,
            case .integer(let begin) = offsets[0], case .integer(let end) = offsets[1], begin >= 0, begin <= end
        else { throw fault("\(subject) has no data_offsets [begin, end]") }
        guard end - begin == byteCount else {
            throw fault(
                "\(subject) of shape \(shape) and dtype \(dtype): expected \(byteCount) bytes, "
                    + "found data_offsets of \(end - begin)")
        }
        let available = fileSize - dataStart
        guard end <= available else {
            throw fault("\(subject) ends at byte \(end) of a buffer of \(available) bytes: the file is truncated")
        }
        return TensorEntry(name: name, dtype: dtype, shape: shape, byteRange: dataStart + begin..<dataStart + end)
    }

    /// Where a key stands, for messages only: the first place its quoted form is found, or 0 when it is escaped.
    private static func position(of key: String, in bytes: [UInt8]) -> Int {
        let needle = Array(JSON.string(key).compact.utf8)
        var start = 0
        while start + needle.count <= bytes.count {
            if bytes[start] == needle[0], bytes[start..<start + needle.count].elementsEqual(needle) { return start }
            start += 1
        }
        return 0
    }
}
