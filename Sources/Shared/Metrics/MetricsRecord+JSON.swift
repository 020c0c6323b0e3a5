// A record as a line and back.

public import Bytes

extension MetricsRecord {
    /// The record's line, newline included.
    public var line: [UInt8] {
        var object = JSONObject()
        for field in fields {
            switch field.value {
            case .integer(let value): object[field.key] = .integer(value)
            case .string(let value): object[field.key] = .string(value)
            case .null: object[field.key] = .null
            case .number(let value) where value.isFinite: object[field.key] = .number(value)
            case .number(let value):
                object[field.key] = .null
                object[field.key + MetricsRecord.companionSuffix] = .string(MetricsRecord.name(ofNonfinite: value))
            }
        }
        return Array((JSON.object(object).compact + "\n").utf8)
    }

    /// Reads a line, with or without its newline.
    /// - Parameters:
    ///   - name: the file, for messages.
    ///   - number: the line's number in it, from 1.
    ///   - offset: the byte at which the line begins.
    /// - Throws: `Fault` (bad data) that names file, line and byte.
    public init(line: [UInt8], name: String, number: Int, offset: Int) throws(Fault) {
        func fault(_ reason: String) -> Fault {
            Fault(.badData, "\(quoted(name)), line \(number), at byte \(offset): \(reason)")
        }
        let json: JSON
        do {
            json = try JSON(parsing: line, name: name, base: offset)
        } catch {
            let prefix = quoted(name) + " "
            throw Fault(.badData, "\(quoted(name)), line \(number), \(error.message.dropFirst(prefix.count))")
        }
        guard let object = json.objectValue else { throw fault("expected an object") }
        var companions: [String: Double] = [:]
        for (key, value) in object.members where key.hasSuffix(MetricsRecord.companionSuffix) {
            guard let text = value.stringValue, let number = MetricsRecord.nonfinite(named: text) else {
                throw fault("expected \(quoted(key)) to be 'nan', 'inf' or '-inf'")
            }
            let subject = String(key.dropLast(MetricsRecord.companionSuffix.count))
            guard case .null? = object[subject] else {
                throw fault("expected null under \(quoted(subject)) beside \(quoted(key))")
            }
            companions[subject] = number
        }
        for (key, value) in object.members where !key.hasSuffix(MetricsRecord.companionSuffix) {
            guard MetricsRecord.isKey(key) else { throw fault("expected a key in snake_case, found \(quoted(key))") }
            guard let value = Value(value, nonfinite: companions[key]) else {
                throw fault("expected a number, a string or null under \(quoted(key))")
            }
            fields.append(Field(key: key, value: value))
        }
        guard let step, step >= 0 else { throw fault("expected an integer of 0 or more under 'step'") }
    }

    static func name(ofNonfinite value: Double) -> String {
        value.isNaN ? "nan" : value < 0 ? "-inf" : "inf"
    }

    private static func nonfinite(named name: String) -> Double? {
        switch name {
        case "nan": .nan
        case "inf": .infinity
        case "-inf": -.infinity
        default: nil
        }
    }
}

extension MetricsRecord.Value {
    fileprivate init?(_ json: JSON, nonfinite: Double?) {
        switch json {
        case .null: self = nonfinite.map { .number($0) } ?? .null
        case .integer(let value): self = .integer(value)
        case .unsigned(let value): self = .number(Double(value))
        case .number(let value): self = .number(value)
        case .string(let value): self = .string(value)
        case .bool, .array, .object: return nil
        }
    }
}
