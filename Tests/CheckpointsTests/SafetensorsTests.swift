import Bytes
import Checkpoints
import SystemPackage
import Testing

@Suite struct SafetensorsTests {
    private func parse(_ bytes: [UInt8]) throws -> SafetensorsHeader {
        let length = try SafetensorsHeader.length(
            prefix: Array(bytes.prefix(8)), fileSize: bytes.count, name: "x.safetensors")
        return try SafetensorsHeader(
            parsing: Array(bytes[8..<8 + length]), fileSize: bytes.count, name: "x.safetensors")
    }

    /// The layout of the reference implementation (safetensors 0.8.0 writes these very bytes): float32 before float16, then names; offsets in that
    /// order; the header padded with spaces to a multiple of 8.
    @Test func writesTheReferenceLayout() throws {
        let scratch = try Scratch()
        let path = scratch.path.appending("m.safetensors")
        let written = try SafetensorsWriter.write(
            to: path,
            tensors: [
                TensorSource(name: "h", dtype: .f16, shape: [1], bytes: [0, 0x3c]),
                TensorSource(name: "w", shape: [1, 2], values: [1, -2]),
                TensorSource(name: "b", shape: [], values: [0.5]),
            ], metadata: ["format": "pt"])
        let header =
            #"{"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"#
            + #""w":{"dtype":"F32","shape":[1,2],"data_offsets":[4,12]},"#
            + #""h":{"dtype":"F16","shape":[1],"data_offsets":[12,14]}}     "#
        #expect(header.utf8.count == 200)
        let expected: [UInt8] =
            [200, 0, 0, 0, 0, 0, 0, 0] + Array(header.utf8)
            + [0, 0, 0, 0x3f, 0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, 0, 0x3c]
        let found = try scratch.read(path)
        #expect(found == expected)
        #expect(written.byteCount == expected.count)
        #expect(written.digest == Digest.of(expected))
        #expect(written.headerDigest == Digest.of(Array(expected[..<208])))
        #expect(written.tensors.map(\.name) == ["b", "w", "h"])
        #expect(written.tensors[1].digest == Digest.of([0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]))
    }

    @Test func readsBackInPieces() throws {
        let scratch = try Scratch()
        let path = scratch.path.appending("m.safetensors")
        let values = (0..<100).map { Float($0) }
        _ = try SafetensorsWriter.write(
            to: path,
            tensors: [
                // A source may hand out pieces of any size, empty ones too.
                TensorSource(name: "w", dtype: .f32, shape: [10, 10]) { emit in
                    try [Float]().withRawSpan(emit)
                    for value in values { try [value].withRawSpan(emit) }
                },
                TensorSource(name: "empty", shape: [3, 0], values: []),
            ])
        let file = try SafetensorsFile(path)
        let entry = try #require(file["w"])
        #expect(entry.shape == [10, 10] && entry.dtype == .f32 && entry.byteCount == 400)
        var bytes: [UInt8] = []
        var offsets: [Int] = []
        try file.read(entry, chunk: 48) {
            offsets.append($0)
            bytes += $1
        }
        #expect(bytes == values.map(\.bitPattern).littleEndianBytes)
        #expect(offsets == Array(stride(from: 0, to: 400, by: 48)))
        #expect(file["empty"]?.byteCount == 0)
        #expect(file["missing"] == nil)
    }

    @Test(arguments: [
        ("{}", 0), (" \n{ } \t", 0), (#"{"__metadata__":{}}"#, 0), (#"{"__metadata__":{"a":"b"}}  "#, 0),
        (#"{"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}"#, 4),
        (#"{"z":{"dtype":"F32","shape":[0,9],"data_offsets":[0,0]}}"#, 0),
        (
            #"{"z":{"dtype":"U8","shape":[0],"data_offsets":[1,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#,
            1
        ),
        (#"{"n":{"dtype":"F4","shape":[4],"data_offsets":[0,2]}}"#, 2),
        (#"{"n":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[0,3],"extra":[1]}}"#, 3),
        (#"{"\u0041/é\n":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]}}"#, 1),
    ])
    func accepts(_ header: String, _ data: Int) throws { _ = try parse(safetensors(header, data: data)) }

    @Test(arguments: [
        ("", 0, "expected a JSON value, found the end"),
        ("[]", 0, "at byte 8: expected a JSON object"),
        ("{}", 1, "at byte 10: expected the end of the file after the last tensor, found 1 more"),
        ("{}x", 0, "at byte 10: expected the end of the JSON value"),
        (#"{"a":1}"#, 0, "at byte 9: tensor 'a' is no object"),
        (#"{"a":{"shape":[],"data_offsets":[0,4]}}"#, 4, "has no dtype"),
        (#"{"a":{"dtype":"F33","shape":[],"data_offsets":[0,4]}}"#, 4, "at byte 9: tensor 'a' has unknown dtype 'F33'"),
        (#"{"a":{"dtype":"F32","data_offsets":[0,4]}}"#, 4, "has no shape"),
        (#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, 4, "a dimension that is no size: -1"),
        (#"{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}"#, 4, "a dimension that is no size"),
        (
            #"{"a":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4]}}"#, 4,
            "no size: 18446744073709551615"
        ),
        (#"{"a":{"dtype":"F32","shape":[4194305,4194305,211106198978564],"data_offsets":[0,16]}}"#, 16, "overflow"),
        (#"{"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}}"#, 0, "overflow"),
        (#"{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}}"#, 1, "split byte"),
        (#"{"a":{"dtype":"F32","shape":[1]}}"#, 4, "has no data_offsets"),
        (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}"#, 4, "has no data_offsets"),
        (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, 4, "has no data_offsets"),
        (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}"#, 4, "has no data_offsets"),
        (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, 4, "expected 8 bytes, found data_offsets of 4"),
        (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 4, "the file is truncated"),
        (
            #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[9223372036854775803,9223372036854775807]}}"#, 4,
            "truncated"
        ),
        (
            #"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#,
            3, "tensor 'b' overlaps"
        ),
        (
            #"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#,
            2, "tensor 'b' overlaps"
        ),
        (#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#, 2, "a hole of 1 bytes before tensor 'a'"),
        (
            #"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}"#,
            3, "a hole of 1 bytes before tensor 'b'"
        ),
        (#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, 3, "found 2 more bytes"),
        (
            #"{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#,
            0, "duplicate key 'a'"
        ),
        (#"{"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#, 0, "duplicate key 'dtype'"),
        (#"{"__metadata__":{"a":1}}"#, 0, "__metadata__ holds 'a', which is no string"),
        (#"{"__metadata__":"a"}"#, 0, "__metadata__ is no object"),
        (#"{"e\u001b[31m":{"dtype":"F32"}}"#, 0, "tensor 'e\\u{1b}[31m' has no shape"),
        (String(repeating: "[", count: 1000), 0, "nested deeper than"),
        (#"{"a":"# + String(repeating: #"{"a":"#, count: 1000), 0, "nested deeper than"),
    ])
    func refuses(_ header: String, _ data: Int, _ reason: String) {
        let found = message { _ = try parse(safetensors(header, data: data)) }
        #expect(found.contains(reason))
        #expect(found.hasPrefix("'x.safetensors' at byte "))
    }

    @Test func refusesBytesThatAreNoText() {
        var bytes = safetensors(#"{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#, data: 0)
        bytes[10] = 0xff
        #expect(message { _ = try parse(bytes) }.contains("at byte 9: string is not UTF-8"))
    }

    @Test func refusesHeaderLengthsThatLie() {
        for length: UInt64 in [3, 100_000_001, 1 << 63, .max] {
            var bytes: [UInt8] = []
            bytes.append(littleEndian: length)
            let found = message { _ = try parse(bytes + Array("{}".utf8)) }
            #expect(found.hasPrefix("'x.safetensors' at byte 0: header length \(length)"))
        }
    }

    @Test func refusesEveryTruncation() throws {
        let bytes = safetensors(
            #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[3],"data_offsets":[8,11]}}"#,
            data: 11)
        _ = try parse(bytes)
        for count in 0..<bytes.count {
            #expect(message { _ = try parse(Array(bytes[..<count])) }.hasPrefix("'x.safetensors' at byte "))
        }
    }

    @Test func namesTheFileThatShrinksWhileRead() throws {
        let scratch = try Scratch()
        let path = scratch.path.appending("m.safetensors")
        let bytes = safetensors(#"{"a":{"dtype":"U8","shape":[64],"data_offsets":[0,64]}}"#, data: 64)
        try scratch.write(bytes, to: path)
        let file = try SafetensorsFile(path)
        try scratch.write(Array(bytes.dropLast(10)), to: path)
        let found = message { try file.read(file.tensors[0], chunk: 8) { _, _ in } }
        #expect(found.contains("at byte \(bytes.count - 10): the file has shrunk"))
    }

    @Test func decodesEveryNumber() {
        #expect(
            DataType.f16.floats([0, 0x3c, 1, 0, 0xff, 0x7b, 0, 0x80, 0, 0xfc, 0xff, 3])
                == [1, 0x1p-24, 65504, -0.0, -.infinity, 0x3ffp-24])
        #expect(DataType.f16.floats([0, 0x80])?[0].sign == .minus)
        #expect(DataType.f16.floats([1, 0x7c])?[0].isNaN == true)
        #expect(DataType.bf16.floats([0x80, 0x3f, 0x20, 0xc1]) == [1, -10])
        #expect(DataType.f64.floats([0, 0, 0, 0, 0, 0, 0xe0, 0x3f]) == [0.5])
        #expect(DataType.i8.doubles([255, 1]) == [-1, 1])
        #expect(DataType.i64.doubles([254, 255, 255, 255, 255, 255, 255, 255]) == [-2])
        #expect(DataType.i32.floats([0, 0, 0, 0]) == nil)
        #expect(DataType.f8e4m3.doubles([0]) == nil)
    }
}
