// TensorBoard's event files as lines of metrics: an event's scalars are a record. Files of a directory follow each other, as
// a resumed run leaves them; what a later file's START takes back is left out, as TensorBoard leaves it out.

internal import Bytes

/// The scalars of event files, as metrics.jsonl.
final class EventLines: ByteSource {
    typealias File = (name: String, open: () throws(Fault) -> any ByteSource)

    let name: String
    private let files: [File]
    private let notes: Notes
    /// The next file to open.
    private var next = 0
    private var current: EventRecords?
    /// Of each file, the first step that a later one takes back.
    private var limits: [Int]?

    init(files: [File], notes: Notes) {
        self.files = files
        self.notes = notes
        name = files.first?.name ?? ""
    }

    func read(upTo count: Int) throws(Fault) -> [UInt8] {
        let limits: [Int]
        if let known = self.limits { limits = known } else { limits = try findLimits() }
        self.limits = limits
        var lines: [UInt8] = []
        while lines.count < 1 << 14 {
            if current == nil {
                if next == files.count { break }
                current = EventRecords(try files[next].open())
                next += 1
            }
            guard let event = try current?.next() else {
                if let offset = current?.tornOffset {
                    notes.add("\(quoted(files[next - 1].name)) stops at byte \(offset), in the middle of a record")
                }
                current = nil
                continue
            }
            if event.step < limits[next - 1] { lines += event.line }
        }
        return lines
    }

    /// Looks at the head of each file for the step at which it starts anew.
    private func findLimits() throws(Fault) -> [Int] {
        var limits = [Int](repeating: .max, count: files.count)
        if files.count < 2 { return limits }
        var limit = Int.max
        for index in files.indices.reversed() {
            limits[index] = limit
            let records = EventRecords(try files[index].open())
            for _ in 0..<3 {
                guard let event = try records.next() else { break }
                if event.isStart { limit = min(limit, event.step) }
            }
        }
        return limits
    }
}

/// An event: when, and what was measured.
struct LoggedEvent {
    var step = 0
    var time = 0.0
    var isStart = false
    var values: [(key: String, value: Double, isSingle: Bool)] = []

    /// The record's line; nothing when it holds no scalar.
    var line: [UInt8] {
        if values.isEmpty { return [] }
        var record = MetricsRecord(step: step)
        for (key, value, isSingle) in values {
            if MetricMeaning.of(key).role == .counter, let count = Int(exactly: value) {
                record.set(key, count)
                continue
            }
            // A float's own shortest digits: 0.1 as a float is 0.1, and not 0.10000000149011612.
            record.set(key, isSingle ? Double(Float(value).description) ?? value : value)
        }
        if time.isFinite && time > 0 { record.set("time", time) }
        return record.line
    }
}

/// Reads one event file.
final class EventRecords {
    private let source: any ByteSource
    private var offset = 0
    /// Where a record begins that the file ends in.
    private(set) var tornOffset: Int?

    init(_ source: any ByteSource) { self.source = source }

    /// The next event, or nil at the end.
    /// - Throws: `Fault` (bad data) naming the byte.
    func next() throws(Fault) -> LoggedEvent? {
        let head = try source.read(filling: EventFile.headBytes)
        if head.isEmpty { return nil }
        guard head.count == EventFile.headBytes else { return torn() }
        let expected = EventFile.masked(CRC32C.checksum(Array(head[0..<8])))
        let found = EventFile.word(head, at: 8)
        if expected != found { throw checksum("length", at: offset, expected, found) }
        let length = EventFile.long(head, at: 0)
        guard length <= UInt64(EventFile.maximumRecord) else {
            throw .badData(
                source.name, byte: offset,
                "expected a record of at most \(EventFile.maximumRecord) bytes, found \(length)")
        }
        var data: [UInt8] = []
        while data.count < Int(length) + 4 {
            let piece = try source.read(upTo: min(1 << 18, Int(length) + 4 - data.count))
            if piece.isEmpty { return torn() }
            data += piece
        }
        let crc = EventFile.word(data, at: Int(length))
        data.removeLast(4)
        let sum = EventFile.masked(CRC32C.checksum(data))
        if sum != crc { throw checksum("data", at: offset, sum, crc) }
        defer { offset += EventFile.headBytes + Int(length) + 4 }
        do {
            let event = try EventRecords.parse(data)
            if event.step < 0 { throw MessageReader.Malformed() }
            return event
        } catch {
            throw .badData(
                source.name, byte: offset, "expected an event with a step of 0 or more, found another message")
        }
    }

    private func torn() -> LoggedEvent? {
        tornOffset = offset
        return nil
    }

    private func checksum(_ what: String, at offset: Int, _ expected: UInt32, _ found: UInt32) -> Fault {
        .badData(
            source.name, byte: offset,
            "bad checksum of a record's \(what): expected \(String(found, radix: 16)), found \(String(expected, radix: 16))"
        )
    }

    private static func parse(_ data: [UInt8]) throws(MessageReader.Malformed) -> LoggedEvent {
        var event = LoggedEvent()
        var message = MessageReader(data)
        while let (number, value) = try message.next() {
            switch (number, value) {
            case (1, .integer(let bits)): event.time = Double(bitPattern: bits)
            case (2, .integer(let step)): event.step = Int(Int64(bitPattern: step))
            case (5, .bytes(let range)): try addSummary(data, range, to: &event)
            case (7, .bytes(let range)):
                var log = MessageReader(data, range)
                while let (number, value) = try log.next() {
                    if number == 1, case .integer(1) = value { event.isStart = true }
                }
            default: break
            }
        }
        return event
    }

    private static func addSummary(
        _ data: [UInt8], _ range: Range<Int>, to event: inout LoggedEvent
    ) throws(MessageReader.Malformed) {
        var summary = MessageReader(data, range)
        while let (number, value) = try summary.next() {
            guard number == 1, case .bytes(let range) = value else { continue }
            var fields = MessageReader(data, range)
            var tag = ""
            var scalar: (value: Double, isSingle: Bool)?
            while let (number, value) = try fields.next() {
                switch (number, value) {
                case (1, .bytes(let range)): tag = String(decoding: data[range], as: UTF8.self)
                case (2, .bits32(let bits)): scalar = (Double(Float(bitPattern: bits)), true)
                case (8, .bytes(let range)): scalar = try tensor(data, range) ?? scalar
                default: break
                }
            }
            if let scalar { event.values.append((ForeignLogs.key(tag), scalar.value, scalar.isSingle)) }
        }
    }

    /// The one number of a TensorProto: 1 dtype, 2 shape, 4 tensor_content, 5 float_val, 6 double_val, 7 int_val, 10
    /// int64_val. Nil for anything but a scalar.
    private static func tensor(
        _ data: [UInt8], _ range: Range<Int>
    ) throws(MessageReader.Malformed) -> (value: Double, isSingle: Bool)? {
        var message = MessageReader(data, range)
        var type: UInt64 = 0
        var content: Range<Int>?
        var scalar: Double?
        while let (number, value) = try message.next() {
            switch (number, value) {
            case (1, .integer(let code)): type = code
            case (2, .bytes(let range)) where !range.isEmpty: return nil
            case (4, .bytes(let range)): content = range
            case (5, .bits32(let bits)): scalar = Double(Float(bitPattern: bits))
            case (5, .bytes(let range)) where range.count == 4:
                scalar = Double(Float(bitPattern: EventFile.word(data, at: range.lowerBound)))
            case (6, .integer(let bits)): scalar = Double(bitPattern: bits)
            case (6, .bytes(let range)) where range.count == 8:
                scalar = Double(bitPattern: EventFile.long(data, at: range.lowerBound))
            case (7, .integer(let value)), (10, .integer(let value)): scalar = Double(Int64(bitPattern: value))
            case (7, .bytes(let range)), (10, .bytes(let range)):
                var packed = MessageReader(data, range)
                let value = try packed.varint()
                if packed.isAtEnd { scalar = Double(Int64(bitPattern: value)) }
            default: break
            }
        }
        if scalar == nil, let content {
            switch (type, content.count) {
            case (1, 4): scalar = Double(Float(bitPattern: EventFile.word(data, at: content.lowerBound)))
            case (2, 8): scalar = Double(bitPattern: EventFile.long(data, at: content.lowerBound))
            case (3, 4): scalar = Double(Int32(bitPattern: EventFile.word(data, at: content.lowerBound)))
            case (9, 8): scalar = Double(Int64(bitPattern: EventFile.long(data, at: content.lowerBound)))
            default: break
            }
        }
        return scalar.map { ($0, type == 1) }
    }
}
