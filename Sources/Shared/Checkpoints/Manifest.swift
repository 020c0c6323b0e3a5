// manifest.json: the size and digest of every file of a checkpoint and of every tensor, closed by a digest of itself, so
// that a damaged manifest is told from a damaged file. It holds no time and no host: the same training gives the same
// bytes.

public import Bytes

/// The manifest of a checkpoint (docs/formats/checkpoint.md).
public struct Manifest: Sendable, Equatable {
    public static let fileName = "manifest.json"
    static let maximumSize = 64 << 20

    /// One file of the checkpoint.
    public struct File: Sendable, Equatable {
        /// One path component.
        public let name: String
        public let byteCount: Int
        public let digest: Digest
        /// For a safetensors file: SHA-256 of its length bytes and header.
        public let headerDigest: Digest?
        /// For a safetensors file: SHA-256 of each tensor, in file order.
        public let tensors: [TensorDigest]
    }

    /// In the order they were written.
    public let files: [File]
    /// `expansions` of state.json, for who reads only the manifest; nil when there are none.
    public let expansions: JSON?

    public subscript(name: String) -> File? { files.first { $0.name == name } }

    private static let closing = "  \"manifest_sha256\": \""

    /// The manifest as JSON, without its own digest.
    public var json: JSON {
        var object: JSONObject = [
            "format": "millrace-checkpoint", "version": 1, "files": .array(files.map(Manifest.json)),
        ]
        object["expansions"] = expansions
        return .object(object)
    }

    /// The bytes of the file.
    var encoded: [UInt8] {
        // The pretty form ends in "\n}\n": the digest of everything before its own line goes in front of the brace.
        let content = String(json.pretty.dropLast(3)) + ",\n"
        let digest = Digest.of(content).description
        return Array("\(content)\(Manifest.closing)\(digest)\"\n}\n".utf8)
    }

    private static func json(_ file: File) -> JSON {
        var object: JSONObject = [
            "name": .string(file.name), "bytes": .integer(file.byteCount), "sha256": .string(file.digest.description),
        ]
        if let digest = file.headerDigest {
            var tensors = JSONObject()
            for tensor in file.tensors { tensors[tensor.name] = .string(tensor.digest.description) }
            object["header_sha256"] = .string(digest.description)
            object["tensors"] = .object(tensors)
        }
        return .object(object)
    }

    init(files: [File], expansions: JSON? = nil) {
        self.files = files
        self.expansions = expansions
    }

    /// - Throws: `Fault` (bad data): damaged, of another format or version, or with a name that leaves the directory.
    init(parsing bytes: [UInt8], name: String) throws(Fault) {
        try Manifest.checkClosing(bytes, name: name)
        let json = try JSON(parsing: bytes, name: name)
        guard json["format"]?.stringValue == "millrace-checkpoint" else {
            throw .badData(name, "expected format 'millrace-checkpoint', found \(json["format"]?.compact ?? "none")")
        }
        guard json["version"]?.intValue == 1 else {
            throw .badData(name, "expected version 1, found \(json["version"]?.compact ?? "none")")
        }
        guard let list = json["files"]?.arrayValue else { throw .badData(name, "expected an array 'files'") }
        var files: [File] = []
        for item in list {
            guard let fileName = item["name"]?.stringValue, let size = item["bytes"]?.intValue, size >= 0,
                let digest = item["sha256"]?.stringValue.flatMap({ Digest($0) })
            else { throw .badData(name, "a file without name, bytes or sha256: \(printable(item.compact))") }
            guard isPathComponent(fileName) else {
                throw .badData(name, "file name \(quoted(fileName)) is no plain name")
            }
            if files.contains(where: { $0.name == fileName }) {
                throw .badData(name, "file \(quoted(fileName)) is listed twice")
            }
            var tensors: [TensorDigest] = []
            var headerDigest: Digest?
            if let members = item["tensors"]?.objectValue?.members {
                guard let header = item["header_sha256"]?.stringValue.flatMap({ Digest($0) }) else {
                    throw .badData(name, "file \(quoted(fileName)) has no header_sha256")
                }
                headerDigest = header
                for (tensor, value) in members {
                    guard let digest = value.stringValue.flatMap({ Digest($0) }) else {
                        throw .badData(name, "tensor \(quoted(tensor)) of \(quoted(fileName)) has no sha256")
                    }
                    tensors.append(TensorDigest(name: tensor, digest: digest))
                }
            }
            files.append(
                File(
                    name: fileName, byteCount: size, digest: digest, headerDigest: headerDigest, tensors: tensors))
        }
        self.files = files
        expansions = json["expansions"]
    }

    /// The last line but one holds the SHA-256 of all bytes before it.
    private static func checkClosing(_ bytes: [UInt8], name: String) throws(Fault) {
        let tail = closing.utf8.count + 64 + 4
        guard bytes.count >= tail else {
            throw .badData(name, byte: bytes.count, "expected 'manifest_sha256' as the last key: the file is truncated")
        }
        let content = bytes[..<(bytes.count - tail)]
        let found = Digest.of(Array(content))
        let expected = Array((closing + found.description + "\"\n}\n").utf8)
        if !bytes[content.endIndex...].elementsEqual(expected) {
            throw .badData(
                name, byte: content.endIndex,
                "the manifest is damaged or truncated: expected manifest_sha256 \(found.description.prefix(16))… at its end"
            )
        }
    }
}

/// Whether `name` is one harmless path component: not empty, no slash, no NUL, neither `.` nor `..`.
func isPathComponent(_ name: String) -> Bool {
    !name.isEmpty && name != "." && name != ".." && !name.utf8.contains { $0 == 0x2f || $0 == 0 }
}
