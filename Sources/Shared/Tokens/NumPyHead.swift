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
