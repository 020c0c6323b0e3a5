// Hugging Face's trainer_state.json as lines of metrics: the objects of its `log_history`, one after the other, however many.
// Python writes numbers that are not finite as bare words, which no JSON is; they are put in quotes on the way.

internal import Bytes

/// The records of a trainer state, as metrics.jsonl.
final class TrainerStateLines: ByteSource {
    let name: String
    private var reader: JSONReader
    private var isInside = false
    private var isDone = false

    init(_ source: any ByteSource) {
        name = source.name
        reader = JSONReader(QuotedWords(source))
    }

    func read(upTo count: Int) throws(Fault) -> [UInt8] {
        if isDone { return [] }
        if !isInside { try enter() }
        var lines: [UInt8] = []
        while lines.count < 1 << 14 {
            guard try reader.nextElement() else {
                while try reader.nextKey() != nil { try reader.skipValue() }
                try reader.end()
                isDone = true
                break
            }
            let offset = reader.offset
            lines += try line(try reader.value(), at: offset)
        }
        return lines
    }

    private func enter() throws(Fault) {
        try reader.beginObject()
        while let key = try reader.nextKey() {
            if key == "log_history" {
                try reader.beginArray()
                isInside = true
                return
            }
            try reader.skipValue()
        }
        throw .badData(name, byte: reader.offset, "expected 'log_history'")
    }

    private func line(_ entry: JSON, at offset: Int) throws(Fault) -> [UInt8] {
        guard let members = entry.objectValue?.members, let step = entry["step"]?.intValue, step >= 0 else {
            throw .badData(name, byte: offset, "expected an entry of 'log_history' with a 'step' of 0 or more")
        }
        var record = MetricsRecord(step: step)
        for (name, value) in members where name != "step" {
            var key = ForeignLogs.key(name)
            // The last entry sums the training up: its `train_loss` is the mean over all steps.
            if name == "train_loss" && entry["train_runtime"] != nil { key = "mean_train_loss" }
            switch value {
            case .integer(let value): record.set(key, value)
            case .unsigned(let value): record.set(key, Double(value))
            case .number(let value): record.set(key, value)
            case .null: record[key] = .null
            case .string("NaN"): record.set(key, Double.nan)
            case .string("Infinity"): record.set(key, Double.infinity)
            case .string("-Infinity"): record.set(key, -Double.infinity)
            case .string(let text): record.set(key, text)
            case .bool, .array, .object: break
            }
        }
        return record.line
    }
}

/// Puts NaN, Infinity and -Infinity in quotes where they stand outside of strings.
private final class QuotedWords: ByteSource {
    let name: String
    private let source: any ByteSource
    private var isInString = false
    private var isEscaped = false
    private var word: [UInt8] = []

    init(_ source: any ByteSource) {
        name = source.name
        self.source = source
    }

    func read(upTo count: Int) throws(Fault) -> [UInt8] {
        var result: [UInt8] = []
        repeat {
            let piece = try source.read(upTo: count)
            if piece.isEmpty {
                finishWord(into: &result)
                return result
            }
            for byte in piece { pass(byte, into: &result) }
        } while result.isEmpty
        return result
    }

    private func pass(_ byte: UInt8, into result: inout [UInt8]) {
        if isInString {
            result.append(byte)
            if isEscaped {
                isEscaped = false
            } else if byte == UInt8(ascii: "\\") {
                isEscaped = true
            } else if byte == UInt8(ascii: "\"") {
                isInString = false
            }
            return
        }
        let isLetter = (0x61...0x7a).contains(byte | 0x20)
        if isLetter && word.count < 16 || byte == UInt8(ascii: "-") && word.isEmpty {
            word.append(byte)
            return
        }
        finishWord(into: &result)
        result.append(byte)
        isInString = byte == UInt8(ascii: "\"")
    }

    private func finishWord(into result: inout [UInt8]) {
        if word.isEmpty { return }
        let isNumber = ["NaN", "Infinity", "-Infinity"].contains(String(decoding: word, as: UTF8.self))
        result += isNumber ? [UInt8(ascii: "\"")] + word + [UInt8(ascii: "\"")] : word
        word = []
    }
}
