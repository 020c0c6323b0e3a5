// Writes a zip archive without compression, member by member, in one pass: the checksum, which is known last, is put into a
// member's head afterwards. Wide fields (zip64) appear only where 32 bits do not do, so that every reader takes the rest.

internal import Bytes
internal import SystemPackage

/// An archive being written; it appears whole when `commit` returns.
final class ZipWriter {
    private struct Entry {
        let name: [UInt8]
        let offset, size: Int
        var crc: UInt32 = 0
    }

    private let file: AtomicFile
    private var entries: [Entry] = []
    private var written = 0
    /// 1980-01-01, the first day zip knows: the same content gives the same bytes.
    private static let date: UInt16 = 1 << 5 | 1

    init(_ path: FilePath) throws(Fault) { file = try AtomicFile(path) }

    /// Begins a member of exactly `size` bytes.
    func begin(_ name: String, size: Int) throws(Fault) {
        let entry = Entry(name: Array(name.utf8), offset: file.bytesWritten, size: size)
        precondition(entry.name.count <= 0xffff, "a name of \(entry.name.count) bytes")
        entries.append(entry)
        written = 0
        let isWide = size >= Int(UInt32.max)
        var head = ZipArchive.memberMagic
        head.append(littleEndian: UInt16(isWide ? 45 : 20))
        // Bit 11: the name is UTF-8.
        head.append(littleEndian: UInt16(1 << 11))
        for value: UInt16 in [0, 0, ZipWriter.date] { head.append(littleEndian: value) }
        head.append(littleEndian: UInt32(0))
        for _ in 0..<2 { head.append(littleEndian: isWide ? UInt32.max : UInt32(size)) }
        head.append(littleEndian: UInt16(entry.name.count))
        head.append(littleEndian: UInt16(isWide ? 20 : 0))
        head += entry.name
        if isWide {
            head.append(littleEndian: UInt16(1))
            head.append(littleEndian: UInt16(16))
            for _ in 0..<2 { head.append(littleEndian: UInt64(size)) }
        }
        try file.write(head)
    }

    func write(_ bytes: [UInt8]) throws(Fault) {
        let last = entries.count - 1
        written += bytes.count
        precondition(written <= entries[last].size, "a member has more bytes than announced")
        entries[last].crc = CRC32.checksum(bytes, after: entries[last].crc)
        try file.write(bytes)
    }

    /// Ends the member.
    func end() throws(Fault) {
        let entry = entries[entries.count - 1]
        precondition(written == entry.size, "a member has fewer bytes than announced")
        try file.overwrite([entry.crc].littleEndianBytes, at: entry.offset + 14)
    }

    /// Writes the directory and publishes the archive.
    /// - Parameter comment: at most 65,535 bytes.
    func commit(comment: [UInt8]) throws(Fault) {
        let start = file.bytesWritten
        for entry in entries { try file.write(directoryEntry(entry)) }
        let size = file.bytesWritten - start
        var end: [UInt8] = []
        if entries.count >= 0xffff || start >= Int(UInt32.max) || size >= Int(UInt32.max) {
            let place = file.bytesWritten
            end += ZipArchive.wideEndMagic
            end.append(littleEndian: UInt64(44))
            for value: UInt16 in [45, 45] { end.append(littleEndian: value) }
            for value: UInt32 in [0, 0] { end.append(littleEndian: value) }
            for value in [entries.count, entries.count, size, start] { end.append(littleEndian: UInt64(value)) }
            end += ZipArchive.wideLocatorMagic
            end.append(littleEndian: UInt32(0))
            end.append(littleEndian: UInt64(place))
            end.append(littleEndian: UInt32(1))
        }
        end += ZipArchive.endMagic
        for value: UInt16 in [0, 0] { end.append(littleEndian: value) }
        for _ in 0..<2 { end.append(littleEndian: UInt16(min(entries.count, 0xffff))) }
        for value in [size, start] { end.append(littleEndian: UInt32(min(value, Int(UInt32.max)))) }
        end.append(littleEndian: UInt16(comment.count))
        try file.write(end + comment)
        try file.commit()
    }

    private func directoryEntry(_ entry: Entry) -> [UInt8] {
        let isLarge = entry.size >= Int(UInt32.max)
        let isFar = entry.offset >= Int(UInt32.max)
        var extra: [UInt8] = []
        if isLarge || isFar {
            extra.append(littleEndian: UInt16(1))
            extra.append(littleEndian: UInt16((isLarge ? 16 : 0) + (isFar ? 8 : 0)))
            if isLarge { for _ in 0..<2 { extra.append(littleEndian: UInt64(entry.size)) } }
            if isFar { extra.append(littleEndian: UInt64(entry.offset)) }
        }
        let version: UInt16 = isLarge || isFar ? 45 : 20
        var bytes = ZipArchive.directoryMagic
        for value: UInt16 in [version, version, 1 << 11, 0, 0, ZipWriter.date] { bytes.append(littleEndian: value) }
        bytes.append(littleEndian: entry.crc)
        for _ in 0..<2 { bytes.append(littleEndian: isLarge ? UInt32.max : UInt32(entry.size)) }
        for value in [entry.name.count, extra.count, 0, 0, 0] { bytes.append(littleEndian: UInt16(value)) }
        bytes.append(littleEndian: UInt32(0))
        bytes.append(littleEndian: isFar ? UInt32.max : UInt32(entry.offset))
        return bytes + entry.name + extra
    }
}
