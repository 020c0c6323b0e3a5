// npz, the archive of numpy.savez and numpy.savez_compressed: a .npy member a tensor (docs/formats/foreign-checkpoints.md).

internal import Bytes
internal import SystemPackage

enum NPZFormat: ForeignModelFormat {
    private static let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)
    private static let suffix = ".npy"
    /// NumPy itself refuses longer heads.
    private static let maximumText = 10_000

    private static let types: [(descr: String, dtype: DataType)] = [
        ("<f2", .f16), ("<f4", .f32), ("<f8", .f64), ("|b1", .bool), ("|u1", .u8), ("|i1", .i8), ("<u2", .u16),
        ("<i2", .i16), ("<u4", .u32), ("<i4", .i32), ("<u8", .u64), ("<i8", .i64),
    ]

    // MARK: reading

    static func read(_ path: FilePath, configuration: JSON?) throws(Fault) -> ForeignModel {
        let archive = try ZipArchive(path)
        var tensors: [ModelTensor] = []
        for member in archive.members {
            guard member.name.hasSuffix(suffix), member.name.utf8.count > suffix.utf8.count else {
                throw .badData(
                    path.string, byte: member.place.lowerBound, "member \(quoted(member.name)) is no array (.npy)")
            }
            tensors.append(try tensor(member))
        }
        var own: JSON?
        if configuration == nil, archive.comment.first == UInt8(ascii: "{") {
            own = try JSON(
                parsing: archive.comment, name: path.string, base: archive.file.size - archive.comment.count)
        }
        return ForeignModel(path, .npz, configuration: configuration ?? own, tensors: tensors)
    }

    private static func tensor(_ member: ZipArchive.Member) throws(Fault) -> ModelTensor {
        let name = String(member.name.dropLast(suffix.count))
        let file = member.source
        let start = member.range.lowerBound
        func fault(_ reason: String) -> Fault {
            .badData(file.name, byte: start, "array \(quoted(name)): \(reason)")
        }
        let prefix = try file.read(at: start, count: min(12, member.range.count))
        guard prefix.starts(with: magic), prefix.count == 12, (1...3).contains(prefix[6]) else {
            throw fault("expected a .npy head of version 1 to 3, found something else")
        }
        let textStart = prefix[6] == 1 ? 10 : 12
        let count =
            prefix[6] == 1
            ? Int(prefix.littleEndian(at: 8, as: UInt16.self) ?? 0)
            : Int(prefix.littleEndian(at: 8, as: UInt32.self) ?? 0)
        if count > maximumText || count > member.range.count - textStart {
            throw fault("a head of \(count) bytes is longer than the member or \(maximumText)")
        }
        let text = try file.read(at: start + textStart, count: count)
        var parser = PythonLiteral(text, name: file.name, base: start + textStart)
        let fields = try parser.dictionary()
        guard let descriptor = fields.descr, let fortran = fields.fortran, let shape = fields.shape else {
            throw fault("expected 'descr', 'fortran_order' and 'shape'")
        }
        guard let dtype = types.first(where: { $0.descr == descriptor })?.dtype else {
            throw fault("type \(quoted(descriptor)) is not read, only little-endian numbers such as '<f4'")
        }
        if fortran && shape.count > 2 { throw fault("\(shape.count) dimensions in Fortran order, more than 2") }
        let headCount = textStart + count
        guard let bytes = TensorEntry.checkedByteCount(dtype, shape), bytes == member.range.count - headCount else {
            throw fault(
                "expected \(TensorEntry.checkedByteCount(dtype, shape).map { "\($0)" } ?? "more than 2^63") bytes for shape \(shape) of \(descriptor), found \(member.range.count - headCount)"
            )
        }
        let head = CRC32.checksum(try file.read(at: start, count: headCount))
        let storage = PlainStorage(
            name: name, file: file, offset: start + headCount, dtype: dtype, elementCount: shape.reduce(1, *),
            check: .crc32(head: head, expected: member.crc))
        guard fortran, shape.count == 2 else { return ModelTensor(name, shape, storage) }
        return ModelTensor(name, shape.reversed(), storage).transposed()
    }

    // MARK: writing

    static func write(_ model: ForeignModel, to path: FilePath, options: ConversionOptions) throws -> [String] {
        try options.requirePlain("npz")
        if options.target == .bf16 {
            throw Fault(.usage, "npz has no type bf16: NumPy has none", hint: "--dtype f32 holds every value of bf16")
        }
        let comment = model.configuration.map { Array($0.compact.utf8) } ?? []
        if comment.count > 0xffff {
            throw model.fault("a configuration of \(comment.count) bytes does not fit an archive's comment")
        }
        let writer = try ZipWriter(path)
        for tensor in model.tensors {
            var dtype = options.plainType(of: tensor)
            if dtype == .bf16 { dtype = .f32 }
            guard let descriptor = types.first(where: { $0.dtype == dtype })?.descr else {
                throw model.fault("tensor \(quoted(tensor.name)) has type \(dtype), which NumPy has not")
            }
            let head = head(descriptor, tensor.shape)
            let encoding = TensorEncoding.plain(dtype)
            try writer.begin(tensor.name + suffix, size: head.count + encoding.byteCount(tensor.elementCount))
            try writer.write(head)
            try tensor.forEachChunk(as: encoding) { try writer.write($0) }
            try writer.end()
        }
        try writer.commit(comment: comment)
        return model.leftOutFiles("npz holds arrays")
    }

    /// NumPy's head, padded so that the data begin at a multiple of 64.
    private static func head(_ descriptor: String, _ shape: [Int]) -> [UInt8] {
        let dimensions = shape.map { "\($0)" }.joined(separator: ", ") + (shape.count == 1 ? "," : "")
        var text = "{'descr': '\(descriptor)', 'fortran_order': False, 'shape': (\(dimensions)), }"
        text += String(repeating: " ", count: 63 - (10 + text.utf8.count) % 64) + "\n"
        var head = magic + [1, 0]
        head.append(littleEndian: UInt16(text.utf8.count))
        return head + Array(text.utf8)
    }
}
