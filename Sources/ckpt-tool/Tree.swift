// A model's tensors as a tree by the dots of their names, with parameters and bytes of every branch.

import Bytes
import Checkpoints

/// A branch: what its tensors share the beginning of their names with.
final class Tree {
    let name: String
    private(set) var elements = 0
    private(set) var bytes = 0
    private(set) var children: [Tree] = []
    private var places: [String: Int] = [:]
    private var tensor: ModelTensor?

    private init(_ name: String) { self.name = name }

    /// - Parameter name: of the root.
    init(_ name: String, _ tensors: [ModelTensor]) {
        self.name = name
        for tensor in tensors {
            add(tensor)
            var branch: Tree = self
            // Bounded, because a hostile name may have a million dots, and the tree is walked by recursion.
            for part in tensor.name.split(separator: ".", maxSplits: 63, omittingEmptySubsequences: false) {
                branch = branch.child(String(part))
                branch.add(tensor)
            }
            branch.tensor = tensor
        }
    }

    private func add(_ tensor: ModelTensor) {
        elements += tensor.elementCount
        bytes += tensor.byteCount
    }

    private func child(_ name: String) -> Tree {
        if let place = places[name] { return children[place] }
        places[name] = children.count
        children.append(Tree(name))
        return children[children.count - 1]
    }

    /// A line a branch, indented by its depth.
    /// - Parameter depth: of the deepest branches shown, 1 being those below the root.
    func text(depth: Int) -> String {
        var rows = [["", "parameters", "bytes"]]
        append(to: &rows, level: 0, depth: depth)
        // Numbers are compared more easily when they end in one column.
        for column in 1...2 {
            let width = rows.map { $0[column].count }.max() ?? 0
            for row in rows.indices {
                rows[row][column] = String(repeating: " ", count: width - rows[row][column].count) + rows[row][column]
            }
        }
        return table(rows)
    }

    private func append(to rows: inout [[String]], level: Int, depth: Int) {
        let shape = tensor.map { ["\($0.encoding) \($0.shape)"] } ?? []
        rows.append(
            [
                String(repeating: "  ", count: level) + printable(name), Tree.grouped(elements), Tree.grouped(bytes),
            ] + shape)
        if level < depth { for child in children { child.append(to: &rows, level: level + 1, depth: depth) } }
    }

    func json(depth: Int) -> JSON {
        var object: JSONObject = [
            "name": .string(name), "parameters": .integer(elements), "bytes": .integer(bytes),
        ]
        if let tensor {
            object["type"] = .string(tensor.encoding.description)
            object["shape"] = .array(tensor.shape.map { .integer($0) })
        }
        if depth > 0 && !children.isEmpty { object["children"] = .array(children.map { $0.json(depth: depth - 1) }) }
        return .object(object)
    }

    /// 1,234,567
    private static func grouped(_ number: Int) -> String {
        var text = ""
        for (index, digit) in String(number).reversed().enumerated() {
            if index > 0 && index % 3 == 0 { text.append(",") }
            text.append(digit)
        }
        return String(text.reversed())
    }
}
