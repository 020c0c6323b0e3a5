// Dotted paths into JSON: how a shell reaches one value of a checkpoint.

public import Bytes

extension JSON {
    /// The value at a dotted path, or nil: `optimizer.step`, `guard.window.3` (array elements by number from 0). A key
    /// that itself holds dots is found too; where both readings exist, the longer key wins.
    public func value(at path: String) -> JSON? {
        value(at: path.split(separator: ".", omittingEmptySubsequences: false)[...])
    }

    private func value(at parts: ArraySlice<Substring>) -> JSON? {
        if parts.isEmpty { return self }
        switch self {
        case .object(let object):
            for end in stride(from: parts.endIndex, to: parts.startIndex, by: -1) {
                if let value = object[parts[..<end].joined(separator: ".")]?.value(at: parts[end...]) { return value }
            }
            return nil
        case .array(let elements):
            guard let index = Int(parts[parts.startIndex]), elements.indices.contains(index) else { return nil }
            return elements[index].value(at: parts.dropFirst())
        default: return nil
        }
    }

    /// The dotted paths of an object's members, objects inside it opened, arrays not.
    public var paths: [String] {
        guard case .object(let object) = self else { return [] }
        return object.members.flatMap { key, value in
            value.objectValue.map { $0.count > 0 } ?? false ? value.paths.map { "\(key).\($0)" } : [key]
        }
    }
}
