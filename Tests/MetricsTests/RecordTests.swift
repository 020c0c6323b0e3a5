// Records: what goes into a line comes out of it, and what is no record is named.

import Bytes
import Metrics
import Testing

private func read(_ text: String, chunk: Int = .max) throws -> [MetricsRecord] {
    var reader = MetricsReader(MemorySource(Array(text.utf8), name: "m.jsonl", chunk: chunk))
    var records: [MetricsRecord] = []
    while let record = try reader.next() { records.append(record) }
    return records
}

/// The message of the fault that reading `text` ends in.
private func complaint(_ text: String) -> String {
    do {
        _ = try read(text)
        return "none"
    } catch let fault as Fault {
        return fault.kind == .badData ? fault.message : "\(fault.kind)"
    } catch { return "\(error)" }
}

@Suite struct RecordTests {
    @Test func everyValueComesBack() throws {
        var record = MetricsRecord(step: 7)
        record.set("tokens", Int.max)
        record.set("train_loss", 2.8125)
        record.set("third", 1.0 / 3.0)
        record.set("whole", 3.0)
        record.set("tiny", Double.leastNonzeroMagnitude)
        record.set("huge", -Double.greatestFiniteMagnitude)
        record.set("note", "a \"b\" \\ \u{1b}[31m é 😀\n")
        record["nothing"] = .null
        let line = String(decoding: record.line, as: UTF8.self)
        #expect(line.hasSuffix("}\n") && line.dropLast().allSatisfy { $0 != "\n" })
        #expect(try read(line) == [record])
        #expect(try read(line, chunk: 1) == [record])
    }

    @Test func nonfiniteNumbersAreNullWithACompanion() throws {
        var record = MetricsRecord(step: 1)
        record.set("a", Double.nan)
        record.set("b", Double.infinity)
        record.set("c", -Float.infinity)
        let line = String(decoding: record.line, as: UTF8.self)
        #expect(
            line == """
                {"step":1,"a":null,"a_nonfinite":"nan","b":null,"b_nonfinite":"inf","c":null,"c_nonfinite":"-inf"}

                """)
        let back = try #require(try read(line).first)
        #expect(back.fields.map(\.key) == ["step", "a", "b", "c"])
        #expect(back["a"]?.doubleValue?.isNaN == true)
        #expect(back["b"]?.doubleValue == .infinity)
        #expect(back["c"]?.doubleValue == -.infinity)
    }

    @Test func settingReplacesInPlace() {
        var record = MetricsRecord(step: 1)
        record.set("a", 1)
        record.set("b", 2)
        record.set("a", 3)
        record["b"] = nil
        #expect(String(decoding: record.line, as: UTF8.self) == "{\"step\":1,\"a\":3}\n")
    }

    @Test(arguments: [
        ("{}", "expected an integer of 0 or more under 'step'"),
        (#"{"step":-1}"#, "expected an integer of 0 or more under 'step'"),
        (#"{"step":1.5}"#, "expected an integer of 0 or more under 'step'"),
        (#"{"step":1,"a":true}"#, "expected a number, a string or null under 'a'"),
        (#"{"step":1,"a":[1]}"#, "expected a number, a string or null under 'a'"),
        (#"{"step":1,"a":{}}"#, "expected a number, a string or null under 'a'"),
        (#"{"step":1,"A":1}"#, "expected a key in snake_case, found 'A'"),
        (#"{"step":1,"\u001b[2J":1}"#, "expected a key in snake_case, found '\\u{1b}[2J'"),
        (#"{"step":1,"a_nonfinite":"nan"}"#, "expected null under 'a' beside 'a_nonfinite'"),
        (#"{"step":1,"a":2,"a_nonfinite":"nan"}"#, "expected null under 'a' beside 'a_nonfinite'"),
        (#"{"step":1,"a":null,"a_nonfinite":"NaN"}"#, "expected 'a_nonfinite' to be 'nan', 'inf' or '-inf'"),
        ("[1]", "expected an object"),
    ])
    func aLineThatIsNoRecordIsNamed(_ line: String, _ reason: String) {
        #expect(complaint("{\"step\":0}\n" + line + "\n") == "'m.jsonl', line 2, at byte 11: \(reason)")
    }

    @Test func syntaxErrorsNameTheirByte() {
        #expect(
            complaint("{\"step\":0}\n{\"step\":}\n")
                == "'m.jsonl', line 2, at byte 19: expected a JSON value, found byte 0x7d")
        #expect(complaint("\n") == "'m.jsonl', line 1, at byte 0: expected a JSON value, found the end")
        #expect(complaint("{\"step\":1,\"step\":2}\n").hasSuffix("at byte 10: duplicate key 'step'"))
        #expect(complaint("\0\0\0\n").hasSuffix("expected a JSON value, found byte 0x0"))
        #expect(complaint("{\"step\":1,\"a\":NaN}\n").hasSuffix("found byte 0x4e"))
        #expect(complaint("{\"step\":1,\"a\":1e999}\n").hasSuffix("number out of range"))
        #expect(
            complaint("{\"step\":1,\"a\":" + String(repeating: "[", count: 100_000) + "\n").hasSuffix(
                "JSON nested deeper than 64"))
    }

    @Test func aTornLastLineIsLeftOut() throws {
        let whole = "{\"step\":1}\n{\"step\":2}\n"
        let last = Array("{\"step\":3,\"a\":1.25}".utf8)
        for count in 0...last.count {
            let bytes = Array(whole.utf8) + last.prefix(count)
            var reader = MetricsReader(MemorySource(bytes))
            var steps: [Int?] = []
            while let record = try reader.next() { steps.append(record.step) }
            let isWhole = count == last.count
            #expect(steps == (isWhole ? [1, 2, 3] : [1, 2]), "\(count) bytes")
            #expect(reader.tornLine == (isWhole || count == 0 ? nil : 3), "\(count) bytes")
        }
    }

    @Test func aTornLineInTheMiddleIsBadData() {
        #expect(complaint("{\"step\":1\n{\"step\":2}\n").hasPrefix("'m.jsonl', line 1, at byte 9: "))
    }

    @Test func aHugeLineCostsAnErrorAndNotItsSize() {
        final class Endless: ByteSource {
            let name = "endless"
            var given = 0
            func read(upTo count: Int) -> [UInt8] {
                if given >= 256 << 20 { return [] }
                given += count
                return [UInt8](repeating: UInt8(ascii: "x"), count: count)
            }
        }
        let before = Host.peakResidentBytes
        var reader = MetricsReader(Endless())
        #expect(throws: Fault(.badData, "'endless', line 1, at byte 0: longer than 1048576 bytes")) {
            _ = try reader.next()
        }
        #expect(Host.peakResidentBytes - before < 64 << 20)
    }

    @Test func theLongestLineAllowedIsRead() throws {
        func line(_ length: Int) -> String {
            let head = "{\"step\":1,\"a\":\""
            return head + String(repeating: "x", count: length - head.utf8.count - 3) + "\"}\n"
        }
        #expect(try read(line(1 << 20)).count == 1)
        #expect(complaint(line(1 << 20 + 1)).hasSuffix("longer than 1048576 bytes"))
    }
}
