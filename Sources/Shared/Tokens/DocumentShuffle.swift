// The offline shuffle: every order of the documents is equally likely, and memory does not grow with them. Each document
// has a 64-bit key, a bijection of its number under a key made of the seed; the dataset has the documents by rising
// keys. They are dealt to buckets by the first bits of their keys; a bucket is loaded, sorted and handed out; one that
// is too large for that is dealt again by the bits that follow. So memory, buckets and threads decide when a document
// is moved and never where to. Buckets lie in one nameless file (`SpillFile`) as runs of a few hundred KiB; they hold
// ids, which are half the size of text or less.

internal import Bytes
internal import SystemPackage

/// A part of a document, in the shuffled order.
struct ShuffledPiece {
    /// Counted in the shuffled order.
    var document: Int
    var side: Int
    var stored: ArraySlice<UInt8>
    var endsDocument: Bool
}

/// Documents in, the same documents in an order that the seed fixes out.
final class DocumentShuffle {
    /// What a bucket knows of a document: key, side, bytes.
    private struct Entry {
        var key: UInt64
        var side: Int
        var bytes: Int
        static let storedBytes = 20
    }

    /// Documents by one stretch of keys: their entries and, in the same order, their ids.
    private struct Bucket {
        var entries = SpilledRun()
        var content = SpilledRun()
        var documents: Int { entries.bytes / Entry.storedBytes }
        var bytes: Int { entries.bytes + content.bytes }
    }

    /// Buckets that were dealt together, which lie in one file.
    private final class Deal {
        var buckets: [Bucket]
        /// The bucket of a key: `key >> shift`, less the bits of the bucket that was dealt again.
        let shift: Int
        let directory: FilePath
        private var file: SpillFile?

        init(buckets: Int, shift: Int, directory: FilePath) {
            self.buckets = [Bucket](repeating: Bucket(), count: buckets)
            self.shift = shift
            self.directory = directory
        }

        func spill() throws(Fault) -> SpillFile {
            if let file { return file }
            let opened = try SpillFile(in: directory)
            file = opened
            return opened
        }

        func index(of key: UInt64) -> Int { Int(truncatingIfNeeded: key >> UInt64(shift)) & (buckets.count - 1) }
    }

    private let keys: (UInt64, UInt64)
    private let directory: FilePath
    /// Bits of a key that choose a bucket.
    private let bucketBits: Int
    private let bufferBytes: Int
    /// The largest bucket that is loaded whole.
    private let loadBytes: Int
    /// What is still to be handed out: the deal under way on top, each with the next of its buckets.
    private var deals: [(deal: Deal, next: Int)] = []
    private var isDealt = false
    private var current: (key: UInt64, side: Int, bytes: Int) = (0, 0, 0)
    private var loaded = LoadedBucket()
    private var handedOut = 0

    /// Documents of a bucket in memory, sorted.
    private struct LoadedBucket {
        var content: [UInt8] = []
        /// Where each document begins in `content`.
        var documents: [(entry: Entry, start: Int)] = []
        var next = 0
        /// Bytes of the next document that were handed out.
        var offset = 0
        /// A single document that is larger than memory is read in pieces from here instead.
        var file: (run: SpilledRun, spill: SpillFile)?
    }

    static let pieceBytes = 1 << 18
    static let leastMemory = 1 << 20

    /// - Parameters:
    ///   - part: which part of a corpus this is, so that two parts have different orders.
    ///   - memory: bytes that are used at most, 1 MiB or more.
    ///   - directory: for the temporary file.
    init(seed: UInt64, part: Int, memory: Int, directory: FilePath) {
        keys = DocumentShuffle.keys(seed: seed, part: part)
        self.directory = directory
        let memory = max(memory, DocumentShuffle.leastMemory)
        // 16 buckets at 16 MiB and less, 1,024 at 1 GiB and more.
        bucketBits = min(10, max(4, Int.bitWidth - 1 - (memory >> 20).leadingZeroBitCount))
        // A quarter of memory for what waits to be written, half for a bucket that is read.
        bufferBytes = (memory / 4) >> bucketBits
        loadBytes = memory / 2
        deals = [(Deal(buckets: 1 << bucketBits, shift: 64 - bucketBits, directory: directory), 0)]
    }

    static func keys(seed: UInt64, part: Int) -> (UInt64, UInt64) {
        let first = mixed(seed ^ 0x7368_7566_666c_6531)  // "shuffle1"
        return (first, mixed(first ^ UInt64(part) &* 0x9e37_79b9_7f4a_7c15))
    }

    /// The key of a document: two rounds of splitmix64's finalizer (Steele, Lea and Flood 2014), a bijection, so that no
    /// two documents share one.
    static func key(of document: Int, keys: (UInt64, UInt64)) -> UInt64 {
        mixed(mixed(UInt64(document) &+ keys.0) ^ keys.1)
    }

    private static func mixed(_ value: UInt64) -> UInt64 {
        var z = value &+ 0x9e37_79b9_7f4a_7c15
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }

    // MARK: Documents in

    /// - Parameter document: its number in the order of the input.
    func beginDocument(_ document: Int, side: Int) {
        precondition(!isDealt, "a document comes after the first was handed out")
        current = (DocumentShuffle.key(of: document, keys: keys), side, 0)
    }

    func append(_ stored: ArraySlice<UInt8>) throws(Fault) {
        current.bytes += stored.count
        let deal = deals[0].deal
        let index = deal.index(of: current.key)
        try deal.buckets[index].content.append(stored, limit: bufferBytes, deal.spill)
    }

    func endDocument() throws(Fault) {
        try add(Entry(key: current.key, side: current.side, bytes: current.bytes), to: deals[0].deal)
    }

    private func add(_ entry: Entry, to deal: Deal) throws(Fault) {
        var stored: [UInt8] = []
        stored.append(littleEndian: entry.key)
        stored.append(littleEndian: UInt32(entry.side))
        stored.append(littleEndian: UInt64(entry.bytes))
        try deal.buckets[deal.index(of: entry.key)].entries.append(
            stored[...], limit: max(1024, bufferBytes / 16), deal.spill)
    }

    // MARK: Documents out

    /// The next piece; nil when all have been handed out.
    func next() throws(Fault) -> ShuffledPiece? {
        if !isDealt {
            isDealt = true
            try flush(deals[0].deal)
        }
        while true {
            if let piece = try nextLoaded() { return piece }
            guard let top = deals.indices.last else { return nil }
            let (deal, next) = deals[top]
            if next == deal.buckets.count {
                deals.removeLast()
                continue
            }
            deals[top].next += 1
            let bucket = deal.buckets[next]
            deal.buckets[next] = Bucket()
            if bucket.documents == 0 { continue }
            if bucket.bytes <= loadBytes {
                try load(bucket, deal)
            } else if bucket.documents == 1 {
                let entries = try entries(bucket, deal)
                loaded = LoadedBucket(documents: [(entries[0], 0)], file: (bucket.content, try deal.spill()))
            } else {
                deals.append((try dealAgain(bucket, deal), 0))
            }
        }
    }

    private func nextLoaded() throws(Fault) -> ShuffledPiece? {
        guard loaded.next < loaded.documents.count else {
            // Lets the bucket go before the next one is loaded.
            loaded = LoadedBucket()
            return nil
        }
        let (entry, start) = loaded.documents[loaded.next]
        let count = min(entry.bytes - loaded.offset, DocumentShuffle.pieceBytes)
        let begin = start + loaded.offset
        let stored: ArraySlice<UInt8>
        if let (run, spill) = loaded.file {
            stored = try run.read(at: begin, count: count) { spill }[...]
        } else {
            stored = loaded.content[begin..<begin + count]
        }
        loaded.offset += count
        let endsDocument = loaded.offset == entry.bytes
        let document = handedOut
        if endsDocument {
            loaded.offset = 0
            loaded.next += 1
            handedOut += 1
        }
        return ShuffledPiece(document: document, side: entry.side, stored: stored, endsDocument: endsDocument)
    }

    /// Writes out what waits, unless everything fits into memory as it is.
    private func flush(_ deal: Deal) throws(Fault) {
        if deal.buckets.reduce(0, { $0 + $1.bytes }) <= loadBytes { return }
        for index in deal.buckets.indices {
            try deal.buckets[index].content.flush(deal.spill)
            try deal.buckets[index].entries.flush(deal.spill)
        }
    }

    private func entries(_ bucket: Bucket, _ deal: Deal) throws(Fault) -> [Entry] {
        let bytes = try bucket.entries.read(at: 0, count: bucket.entries.bytes, deal.spill)
        var entries: [Entry] = []
        entries.reserveCapacity(bucket.documents)
        for offset in stride(from: 0, to: bytes.count, by: Entry.storedBytes) {
            guard let key: UInt64 = bytes.littleEndian(at: offset),
                let side: UInt32 = bytes.littleEndian(at: offset + 8),
                let count: UInt64 = bytes.littleEndian(at: offset + 12)
            else { preconditionFailure("an entry has \(Entry.storedBytes) bytes") }
            entries.append(Entry(key: key, side: Int(side), bytes: Int(count)))
        }
        return entries
    }

    private func load(_ bucket: Bucket, _ deal: Deal) throws(Fault) {
        var start = 0
        var documents: [(entry: Entry, start: Int)] = []
        documents.reserveCapacity(bucket.documents)
        for entry in try entries(bucket, deal) {
            documents.append((entry, start))
            start += entry.bytes
        }
        documents.sort { $0.entry.key < $1.entry.key }
        loaded = LoadedBucket(
            content: try bucket.content.read(at: 0, count: bucket.content.bytes, deal.spill), documents: documents)
    }

    /// Deals a bucket that is too large by the bits that follow those that brought it together.
    private func dealAgain(_ bucket: Bucket, _ deal: Deal) throws(Fault) -> Deal {
        // Keys differ, so that at the last bit no bucket has two documents.
        let bits = min(bucketBits, deal.shift)
        let finer = Deal(buckets: 1 << bits, shift: deal.shift - bits, directory: directory)
        var start = 0
        for entry in try entries(bucket, deal) {
            let index = finer.index(of: entry.key)
            for offset in stride(from: 0, to: entry.bytes, by: DocumentShuffle.pieceBytes) {
                let count = min(DocumentShuffle.pieceBytes, entry.bytes - offset)
                try finer.buckets[index].content.append(
                    try bucket.content.read(at: start + offset, count: count, deal.spill)[...], limit: bufferBytes,
                    finer.spill)
            }
            try add(entry, to: finer)
            start += entry.bytes
        }
        try flush(finer)
        return finer
    }
}
