// The little of Python's syntax that the heads of .npy files use.

/// A dictionary of 'descr', 'fortran_order' and 'shape'.
package struct PythonLiteral {
    private let bytes: [UInt8]
    private let name: String
    private let base: Int
    private var position = 0

    package init(_ bytes: [UInt8], name: String, base: Int) {
        self.bytes = bytes
        self.name = name
        self.base = base
    }

    private func fault(_ expected: String) -> Fault { .badData(name, byte: base + position, "expected \(expected)") }

    private mutating func skipBlanks() {
        while position < bytes.count, bytes[position] == 0x20 || bytes[position] == 0x0a { position += 1 }
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        skipBlanks()
        guard position < bytes.count, bytes[position] == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    private mutating func string() throws(Fault) -> String? {
        for quote: Unicode.Scalar in ["'", "\""] where take(quote) {
            guard let end = bytes.firstIndex(of: UInt8(ascii: quote), from: position) else {
                throw fault("a closing quote")
            }
            defer { position = end + 1 }
            return String(decoding: bytes[position..<end], as: UTF8.self)
        }
        return nil
    }

    private mutating func word() -> String {
        skipBlanks()
        let start = position
        while position < bytes.count, UInt8(ascii: "a")...UInt8(ascii: "z") ~= bytes[position] | 0x20 { position += 1 }
        return String(decoding: bytes[start..<position], as: UTF8.self)
    }

    private mutating func integer() throws(Fault) -> Int {
        skipBlanks()
        let start = position
        while position < bytes.count, 0x30...0x39 ~= bytes[position] { position += 1 }
        guard let value = Int(String(decoding: bytes[start..<position], as: UTF8.self)) else {
            throw fault("a dimension of at most 63 bits")
        }
        return value
    }

    package mutating func dictionary() throws(Fault) -> (descr: String?, fortran: Bool?, shape: [Int]?) {
        var fields: (descr: String?, fortran: Bool?, shape: [Int]?)
        guard take("{") else { throw fault("a dictionary") }
        while !take("}") {
            let key = try string()
            guard take(":") else { throw fault("':'") }
            switch key {
            case "descr":
                fields.descr = try string()
                if fields.descr == nil { throw fault("a plain type such as '<u2'") }
            case "fortran_order":
                switch word() {
                case "True": fields.fortran = true
                case "False": fields.fortran = false
                default: throw fault("True or False")
                }
            case "shape":
                guard take("(") else { throw fault("a tuple") }
                var shape: [Int] = []
                while !take(")") {
                    shape.append(try integer())
                    if !take(","), position >= bytes.count || bytes[position] != UInt8(ascii: ")") {
                        throw fault("','")
                    }
                }
                fields.shape = shape
            default: throw fault("'descr', 'fortran_order' or 'shape' as a key")
            }
            if !take(","), position >= bytes.count || bytes[position] != UInt8(ascii: "}") { throw fault("',' or '}'") }
        }
        return fields
    }
}
