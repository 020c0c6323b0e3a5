// Zip archives as numpy.savez and numpy.savez_compressed write them: members one after the other, stored or deflated, and a
// directory of them at the end (PKWARE's APPNOTE 4.3 to 4.5). What the directory says of a member is held against the file
// before it is believed.

internal import Bytes
internal import SystemPackage

/// An archive open for reading.
struct ZipArchive {
    static let memberMagic: [UInt8] = [0x50, 0x4b, 3, 4]
    static let directoryMagic: [UInt8] = [0x50, 0x4b, 1, 2]
    static let endMagic: [UInt8] = [0x50, 0x4b, 5, 6]
    static let wideEndMagic: [UInt8] = [0x50, 0x4b, 6, 6]
    static let wideLocatorMagic: [UInt8] = [0x50, 0x4b, 6, 7]
    private static let maximumDirectory = 64 << 20

    struct Member {
        let name: String
        /// Of its content.
        let crc: UInt32
        /// Where it lies in the archive, compressed or not.
        let place: Range<Int>
        /// What its content is read from: the archive, or what it decodes to.
        let source: any RangedSource
        /// Of its content in `source`.
        let range: Range<Int>
    }

    let file: InputFile
    let members: [Member]
    /// The archive's comment.
    let comment: [UInt8]

    init(_ path: FilePath) throws(Fault) {
        file = try InputFile(path)
        let end = try ZipEnd(file)
        comment = end.comment
        if end.directorySize > ZipArchive.maximumDirectory {
            throw .badData(file.name, byte: end.position, "a directory of \(end.directorySize) bytes")
        }
        let directory = try file.read(at: end.directoryStart, count: end.directorySize)
        var members: [Member] = []
        var names: Set<String> = []
        var position = 0
        let inflated = InflatedStore()
        for _ in 0..<end.count {
            let member = try ZipArchive.member(directory, &position, end, file, inflated)
            if !names.insert(member.name).inserted {
                throw .badData(
                    file.name, byte: end.directoryStart + position, "member \(quoted(member.name)) is there twice")
            }
            members.append(member)
        }
        let inOrder = members.sorted { $0.place.lowerBound < $1.place.lowerBound }
        for (left, right) in zip(inOrder, inOrder.dropFirst()) where left.place.upperBound > right.place.lowerBound {
            throw .badData(
                file.name, byte: right.place.lowerBound,
                "member \(quoted(right.name)) overlaps \(quoted(left.name))")
        }
        self.members = members
    }

    /// The directory's next entry and, in the file, the head of the member that it names.
    private static func member(
        _ directory: [UInt8], _ position: inout Int, _ end: ZipEnd, _ file: InputFile, _ inflated: InflatedStore
    ) throws(Fault) -> Member {
        let place = end.directoryStart + position
        func fault(_ reason: String) -> Fault { .badData(file.name, byte: place, reason) }
        func short(_ offset: Int) -> Int { Int(directory.littleEndian(at: position + offset, as: UInt16.self) ?? 0) }
        func word(_ offset: Int) -> UInt32 { directory.littleEndian(at: position + offset, as: UInt32.self) ?? 0 }
        guard directory.count - position >= 46, directory[position..<position + 4].elementsEqual(directoryMagic) else {
            throw fault("expected an entry of the archive's directory, found something else")
        }
        let (nameCount, extraCount, commentCount) = (short(28), short(30), short(32))
        let next = position + 46 + nameCount + extraCount + commentCount
        guard next <= directory.count else { throw fault("an entry goes on past the archive's directory") }
        guard let name = String(validating: directory[position + 46..<position + 46 + nameCount], as: UTF8.self) else {
            throw fault("a member's name is not UTF-8")
        }
        let subject = "member \(quoted(name))"
        if short(8) & 1 != 0 { throw fault("\(subject) is encrypted") }
        let isDeflated = short(10) == 8
        guard short(10) == 0 || isDeflated else {
            throw fault("\(subject) is compressed by method \(short(10)), expected 0 (stored) or 8 (deflated)")
        }
        let extra = Array(directory[position + 46 + nameCount..<position + 46 + nameCount + extraCount])
        guard let wide = widened([word(24), word(20), word(42)], extra) else {
            throw fault("\(subject): a size of zip64 is missing or out of range")
        }
        let (size, stored, offset) = (wide[0], wide[1], wide[2])
        let crc = word(16)
        guard size == stored || isDeflated && size / DeflateSource.maximumRatio <= stored else {
            throw fault("\(subject) has \(size) bytes, \(stored) of them stored")
        }
        guard offset >= 0, stored >= 0, size >= 0, offset <= file.size - 30 else {
            throw fault("\(subject) lies outside the file")
        }
        let head = try file.read(at: offset, count: 30)
        guard head.starts(with: memberMagic), let innerName = head.littleEndian(at: 26, as: UInt16.self),
            let innerExtra = head.littleEndian(at: 28, as: UInt16.self)
        else { throw .badData(file.name, byte: offset, "expected the head of \(subject), found something else") }
        let start = offset + 30 + Int(innerName) + Int(innerExtra)
        guard start <= end.directoryStart, stored <= end.directoryStart - start else {
            throw fault("\(subject) of \(stored) bytes from byte \(start) runs into the archive's directory")
        }
        position = next
        let range = start..<start + stored
        if !isDeflated { return Member(name: name, crc: crc, place: range, source: file, range: range) }
        let source = try InflatedMember(name, size: size, of: file, at: range, in: inflated)
        return Member(name: name, crc: crc, place: range, source: source, range: 0..<size)
    }

    /// The fields, those that say 0xffffffff from the extra field of zip64 (number 1), in order; nil when they are not there.
    private static func widened(_ fields: [UInt32], _ extra: [UInt8]) -> [Int]? {
        if !fields.contains(.max) { return fields.map { Int($0) } }
        var position = 0
        while let kind = extra.littleEndian(at: position, as: UInt16.self),
            let count = extra.littleEndian(at: position + 2, as: UInt16.self)
        {
            let end = position + 4 + Int(count)
            if kind != 1 {
                position = end
                continue
            }
            var place = position + 4
            var values: [Int] = []
            for field in fields {
                guard field == .max else {
                    values.append(Int(field))
                    continue
                }
                guard place + 8 <= end,
                    let value = extra.littleEndian(at: place, as: UInt64.self).flatMap({ Int(exactly: $0) })
                else { return nil }
                values.append(value)
                place += 8
            }
            return values
        }
        return nil
    }
}

/// The record at the end of an archive, and the wider one before it where there is one.
private struct ZipEnd {
    let position, count, directorySize, directoryStart: Int
    let comment: [UInt8]

    init(_ file: InputFile) throws(Fault) {
        let tailStart = max(0, file.size - 22 - 0xffff)
        let tail = try file.read(at: tailStart, count: file.size - tailStart)
        // The last place where the record, with the comment that it announces, ends the file.
        let found = stride(from: tail.count - 22, through: 0, by: -1).first { place in
            tail[place..<place + 4].elementsEqual(ZipArchive.endMagic)
                && Int(tail.littleEndian(at: place + 20, as: UInt16.self) ?? 0) == tail.count - place - 22
        }
        guard let found else {
            throw .badData(file.name, byte: file.size, "no end of a zip archive: the file is truncated or none")
        }
        position = tailStart + found
        comment = Array(tail[(found + 22)...])
        func word(_ offset: Int) -> UInt32 { tail.littleEndian(at: found + offset, as: UInt32.self) ?? 0 }
        var (count, size, start) = (
            Int(tail.littleEndian(at: found + 10, as: UInt16.self) ?? 0), Int(word(12)), Int(word(16))
        )
        if count == 0xffff || word(12) == .max || word(16) == .max, found >= 20 {
            let locator = Array(tail[found - 20..<found])
            if locator.starts(with: ZipArchive.wideLocatorMagic) {
                guard let place = locator.littleEndian(at: 8, as: UInt64.self).flatMap({ Int(exactly: $0) }),
                    place <= file.size - 56
                else { throw .badData(file.name, byte: position - 20, "the end of zip64 lies outside the file") }
                let wide = try file.read(at: place, count: 56)
                func long(_ offset: Int) -> Int? {
                    wide.littleEndian(at: offset, as: UInt64.self).flatMap { Int(exactly: $0) }
                }
                guard wide.starts(with: ZipArchive.wideEndMagic), let wideCount = long(32), let wideSize = long(40),
                    let wideStart = long(48)
                else { throw .badData(file.name, byte: place, "expected the end of zip64, found something else") }
                (count, size, start) = (wideCount, wideSize, wideStart)
            }
        }
        guard start <= position, size <= position - start, count <= size / 46 else {
            throw .badData(
                file.name, byte: position,
                "a directory of \(count) members and \(size) bytes from byte \(start) does not fit the file")
        }
        (self.count, directorySize, directoryStart) = (count, size, start)
    }
}
