// The head of a .npy file (NumPy's format 1.0 to 3.0): a magic, and a Python dictionary of three keys as text.

internal import Bytes

struct NumPyHead {
    static let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)
    /// NumPy itself refuses longer ones.
    private static let maximumText = 10_000

    let type: IntegerType
    /// One or two dimensions.
    let shape: [Int]
    /// Where the ids begin.
    let bytes: Int

    /// - Throws: `Fault` (bad data) for what is no .npy, holds no integers, or does not fill the file.
    init(_ file: InputFile) throws(Fault) {
        let start = try file.read(at: 0, count: min(12, file.size))
        guard start.starts(with: NumPyHead.magic), start.count >= 10 else {
            throw .badData(
                file.name, byte: 0, "expected a .npy file, found something else",
                hint: "arrays without a head are read with --format ids-u16 or ids-u32")
        }
        let version = start[6]
        guard (1...3).contains(version), version == 1 || start.count == 12 else {
            throw .badData(file.name, byte: 6, "expected version 1 to 3, found \(version)")
        }
        let textStart = version == 1 ? 10 : 12
        let count =
            version == 1
            ? Int(start.littleEndian(at: 8, as: UInt16.self) ?? 0)
            : Int(start.littleEndian(at: 8, as: UInt32.self) ?? 0)
        if count > NumPyHead.maximumText || count > file.size - textStart {
            throw .badData(
                file.name, byte: 8, "a head of \(count) bytes is longer than the file or \(NumPyHead.maximumText)")
        }
        var parser = PythonLiteral(try file.read(at: textStart, count: count), name: file.name, base: textStart)
        let fields = try parser.dictionary()
        bytes = textStart + count
        guard let descriptor = fields.descr, let fortran = fields.fortran, let shape = fields.shape else {
            throw .badData(file.name, byte: textStart, "expected 'descr', 'fortran_order' and 'shape'")
        }
        let types: [String: IntegerType] = [
            "|u1": .u8, "|i1": .i8, "<u1": .u8, "<i1": .i8, "<u2": .u16, "<i2": .i16, "<u4": .u32, "<i4": .i32,
            "<u8": .u64, "<i8": .i64,
        ]
        guard let type = types[descriptor] else {
            throw .badData(
                file.name, byte: textStart, "expected little-endian integers ('<u2'), found \(quoted(descriptor))")
        }
        if !(1...2).contains(shape.count) || fortran && shape.count > 1 {
            throw .badData(
                file.name, byte: textStart,
                "expected one or two dimensions in C order, found \(shape.count)\(fortran ? " in Fortran order" : "")")
        }
        var size = type.byteCount
        for dimension in shape {
            let (product, overflow) = size.multipliedReportingOverflow(by: dimension)
            if overflow { throw .badData(file.name, byte: textStart, "the shape leaves 63 bits") }
            size = product
        }
        if size != file.size - bytes {
            throw .badData(
                file.name, byte: min(file.size, bytes),
                "expected \(size) bytes of \(descriptor) ids behind the head, found \(file.size - bytes)")
        }
        self.type = type
        self.shape = shape
    }
}

/// The little of Python's syntax that such heads use.
private struct PythonLiteral {
    private let bytes: [UInt8]
    private let name: String
    private let base: Int
    private var position = 0

    init(_ bytes: [UInt8], name: String, base: Int) {
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

    mutating func dictionary() throws(Fault) -> (descr: String?, fortran: Bool?, shape: [Int]?) {
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
