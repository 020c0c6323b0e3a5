// The writer: the same value always gives the same bytes. Doubles are written in the shortest form that reads back to
// the same bits; a non-finite one has no JSON form and is a programmer's slip (metrics write null and a companion).

extension JSON {
    /// One line, no spaces: what metrics.jsonl and stream headers hold.
    public var compact: String {
        var text = ""
        write(to: &text, indent: nil)
        return text
    }

    /// Two-space indentation, arrays of scalars on one line, a newline at the end: what files people open hold.
    public var pretty: String {
        var text = ""
        write(to: &text, indent: 0)
        return text + "\n"
    }

    private func write(to text: inout String, indent: Int?) {
        switch self {
        case .null: text += "null"
        case .bool(let value): text += value ? "true" : "false"
        case .integer(let value): text += String(value)
        case .unsigned(let value): text += String(value)
        case .number(let value):
            precondition(value.isFinite, "a non-finite number has no JSON form: \(value)")
            text += value.description
        case .string(let value): JSON.writeString(value, to: &text)
        case .array(let elements):
            let flat = elements.allSatisfy { $0.arrayValue == nil && $0.objectValue == nil }
            JSON.writeList(elements, "[", "]", to: &text, indent: flat ? nil : indent, space: indent != nil) {
                $0.write(to: &$1, indent: $2)
            }
        case .object(let object):
            JSON.writeList(object.members, "{", "}", to: &text, indent: indent, space: indent != nil) {
                JSON.writeString($0.key, to: &$1)
                $1 += indent == nil ? ":" : ": "
                $0.value.write(to: &$1, indent: $2)
            }
        }
    }

    private static func writeList<Element>(
        _ elements: [Element], _ open: String, _ close: String, to text: inout String, indent: Int?, space: Bool,
        _ writeElement: (Element, inout String, Int?) -> Void
    ) {
        text += open
        let inner = indent.map { $0 + 2 }
        for (index, element) in elements.enumerated() {
            if index > 0 { text += indent == nil && space ? ", " : "," }
            if let inner { text += "\n" + String(repeating: " ", count: inner) }
            writeElement(element, &text, inner)
        }
        if let indent, !elements.isEmpty { text += "\n" + String(repeating: " ", count: indent) }
        text += close
    }

    private static func writeString(_ value: String, to text: inout String) {
        text += "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            case "\u{0}"..<"\u{20}", "\u{7f}":
                let code = String(scalar.value, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - code.count) + code
            default: text.unicodeScalars.append(scalar)
            }
        }
        text += "\""
    }
}
