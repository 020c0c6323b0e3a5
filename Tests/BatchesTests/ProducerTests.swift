// What a stream promises about its content: every token a target exactly once an epoch, documents whole where a row
// holds them, the same bytes from any number of threads and from any cut. Small random datasets, every order and
// packing; the reader checks the stream itself on the way.

import Batches
import Bytes
import Testing
import Tokens

/// How a small stream is asked for.
struct Request: CustomStringConvertible, Sendable {
    var length = 8
    var rows = 3
    var order = Order.window
    var packing = Packing.bestFit
    var seed: UInt64 = 1
    var epochs: Int? = 1
    var limit: Int?
    var crossDocument = false
    var cursor: String?
    var threads = 1
    var mask = LossMaskRule.all
    var lanes = 1
    var rank = 0
    var world = 1
    /// Of each path, when they are mixed.
    var weights: [String] = []
    /// As in `BatchProducer`.
    var windowBytes: Int?

    var description: String { "\(order) \(packing) T=\(length) B=\(rows) cross=\(crossDocument)" }

    func producer(_ paths: [String]) throws -> BatchProducer {
        let sources =
            weights.isEmpty
            ? [try TokenSource(paths.map { try Dataset($0) })] : try paths.map { try TokenSource([Dataset($0)]) }
        let mixture = weights.isEmpty ? Mixture.single : try #require(Mixture(weights.compactMap { MixingWeight($0) }))
        var recipe = Recipe(
            length: length, seed: seed, order: order, packing: packing, crossDocument: crossDocument, mask: mask,
            lanes: lanes)
        if case .sidecar = mask { recipe.mask = .sidecar(try TokenSource.maskDigest(sources)) }
        let producer = try BatchProducer(
            mixing: sources, mixture, recipe: recipe, rows: rows, epochs: epochs, limit: limit,
            cursor: try cursor.map { try Cursor(parsing: $0) }, rank: rank, world: world, threads: threads)
        if let windowBytes { producer.windowBytes = windowBytes }
        return producer
    }

    func bytes(_ paths: [String]) throws -> [UInt8] {
        let producer = try producer(paths)
        let sink = MemorySink()
        let writer = try BatchStreamWriter(sink, head: producer.head)
        try writer.finish(try producer.run { try writer.write($0) })
        return sink.bytes
    }

    func stream(_ paths: [String]) throws -> (batches: [TokenBatch], end: StreamEnd) { try readAll(try bytes(paths)) }

    /// Every order and packing.
    static let kinds: [Request] = Order.allCases.flatMap { order in
        Packing.allCases.map { packing in Request(order: order, packing: packing) }
    }
}

/// A row taken apart: the targets of each segment and the inputs beside them.
func segments(_ batches: [TokenBatch]) -> [(inputs: [UInt32], targets: [UInt32])] {
    batches.flatMap { batch in
        (0..<batch.rows).flatMap { row in
            var start = row * batch.length
            return batch.segmentEnds[row].map { end in
                let range = start..<row * batch.length + Int(end)
                start = range.upperBound
                return (Array(batch.inputs[range]), Array(batch.targets[range]))
            }
        }
    }
}

/// Documents whose tokens are all different: token k of the dataset has the id k.
func countedDocuments(_ shards: [[Int]]) -> [[[UInt32]]] {
    var next: UInt32 = 0
    return shards.map { lengths in
        lengths.map { length in
            defer { next += UInt32(length) }
            return Array(next..<next + UInt32(length))
        }
    }
}

@Suite struct ProducerTests {
    /// Ids say where a token came from, so "exactly once", "in order" and "with the right input" are all visible.
    @Test(arguments: Request.kinds) func everyTokenIsATargetOncePerEpoch(kind: Request) throws {
        var generator = Generator(state: 42)
        for trial in 0..<12 {
            let directory = try TemporaryDirectory()
            let length = [1, 2, 5, 8, 64][trial % 5]
            let shards = (0..<Int.random(in: 1...3, using: &generator)).map { _ in
                (0..<Int.random(in: 1...40, using: &generator)).map { _ in
                    Int.random(in: 1...3 * length, using: &generator)
                }
            }
            let documents = countedDocuments(shards)
            let total = shards.joined().reduce(0, +)
            let end = UInt32(total)
            try writeDataset(
                directory.path + "/d", shards: documents, vocabularySize: total + 1, endOfDocument: total,
                name: "counted")
            var request = kind
            (request.length, request.epochs) = (length, 2)
            let (batches, done) = try request.stream([directory.path + "/d"])
            var starts = Set<UInt32>()
            for document in documents.joined() { starts.insert(document[0]) }
            var seen = [Int](repeating: 0, count: total)
            for (inputs, targets) in segments(batches) {
                for (position, target) in targets.enumerated() {
                    seen[Int(target)] += 1
                    #expect(inputs[position] == (starts.contains(target) ? end : target - 1))
                    if position > 0 { #expect(target == targets[position - 1] + 1 && !starts.contains(target)) }
                }
            }
            #expect(seen.allSatisfy { $0 == 2 }, "\(kind), \(length)")
            #expect(done.ledger.tokensIn == 2 * total && done.ledger.leftOver == 0)
            #expect(done.ledger.padded == done.rows * length - 2 * total)
        }
    }

    @Test(arguments: Order.allCases) func bestFitSplitsNoDocumentThatFits(order: Order) throws {
        let directory = try TemporaryDirectory()
        var generator = Generator(state: 7)
        let documents = countedDocuments([(0..<300).map { _ in Int.random(in: 1...30, using: &generator) }])
        let total = documents.joined().reduce(0) { $0 + $1.count }
        try writeDataset(
            directory.path + "/d", shards: documents, vocabularySize: total + 1, endOfDocument: total, name: "counted")
        let (batches, _) = try Request(length: 16, order: order).stream([directory.path + "/d"])
        let found = Set(segments(batches).map(\.targets))
        for document in documents[0] {
            if document.count <= 16 {
                #expect(found.contains(document))
            } else {
                #expect(found.contains(Array(document[..<16])) && found.contains(Array(document[16...])))
            }
        }
        // 300 documents of 15.5 tokens on average: best fit wastes little of what concat would not.
        #expect(batches.count * 3 * 16 < total * 110 / 100 + 48)
    }

    @Test(arguments: Request.kinds) func aCutChangesNothing(kind: Request) throws {
        let directory = try TemporaryDirectory()
        var generator = Generator(state: 3)
        let path = directory.path + "/d"
        try writeDataset(
            path, shards: [randomDocuments(30, longest: 25, &generator), randomDocuments(20, longest: 9, &generator)])
        var request = kind
        request.epochs = 3
        let (whole, end) = try request.stream([path])
        for cut in 0...whole.count {
            var rest = request
            if cut > 0 {
                var first = request
                first.limit = cut
                let (head, partial) = try first.stream([path])
                #expect(head == Array(whole[..<cut]))
                #expect(partial.batches == cut && partial.cursor == whole[cut - 1].cursor)
                rest.cursor = partial.cursor
            }
            let (tail, done) = try rest.stream([path])
            #expect(tail == Array(whole[cut...]), "cut at \(cut)")
            #expect(done == end)
        }
    }

    @Test(arguments: Request.kinds) func rowsABatchMayChangeOnResume(kind: Request) throws {
        let directory = try TemporaryDirectory()
        var generator = Generator(state: 4)
        let path = directory.path + "/d"
        try writeDataset(path, shards: [randomDocuments(60, longest: 25, &generator)])
        var request = kind
        request.epochs = 2
        let (_, end) = try request.stream([path])
        request.limit = 4
        let (_, partial) = try request.stream([path])
        (request.limit, request.rows, request.cursor) = (nil, 5, partial.cursor)
        let (_, resumed) = try request.stream([path])
        #expect(resumed.orderDigest == end.orderDigest)
        #expect(resumed.ledger.emitted == end.ledger.emitted)
    }

    @Test(arguments: Request.kinds) func threadsChangeNothing(kind: Request) throws {
        let directory = try TemporaryDirectory()
        var generator = Generator(state: 5)
        let path = directory.path + "/d"
        // Two frames, so that blocks do cross frames.
        try writeDataset(path, shards: [randomDocuments(1500, longest: 200, &generator)])
        var request = kind
        (request.length, request.rows) = (100, 7)
        let one = try request.bytes([path])
        for threads in [2, 3, 8] {
            request.threads = threads
            #expect(try request.bytes([path]) == one)
        }
    }

    @Test(arguments: [Order.window, .full]) func epochsAndSeedsDiffer(order: Order) throws {
        let directory = try TemporaryDirectory()
        var generator = Generator(state: 6)
        let path = directory.path + "/d"
        try writeDataset(path, shards: [randomDocuments(200, longest: 20, &generator)])
        var request = Request(rows: 1, order: order, packing: .concat)
        request.epochs = 2
        let rows = try request.stream([path]).batches.map(\.targets)
        let (first, second) = (Array(rows[..<(rows.count / 2)]), Array(rows[(rows.count / 2)...]))
        #expect(Set(first) == Set(second))
        #expect(zip(first, second).count { $0 == $1 } < first.count / 10)
        request.seed = 2
        let other = try request.stream([path]).batches.map(\.targets)
        #expect(zip(rows, other).count { $0 == $1 } < rows.count / 10)
    }

    @Test func sequentialConcatIsTheText() throws {
        let directory = try TemporaryDirectory()
        var generator = Generator(state: 8)
        let documents = randomDocuments(50, longest: 20, &generator)
        try writeDataset(directory.path + "/d", shards: [documents])
        let (batches, _) = try Request(order: .sequential, packing: .concat).stream([directory.path + "/d"])
        #expect(segments(batches).flatMap(\.targets) == documents.flatMap { $0 })
    }

    @Test(arguments: Packing.allCases) func acrossDocumentsARowIsOneSegment(packing: Packing) throws {
        let directory = try TemporaryDirectory()
        var generator = Generator(state: 9)
        let path = directory.path + "/d"
        try writeDataset(path, shards: [randomDocuments(50, longest: 9, &generator)])
        var request = Request(packing: packing)
        let (inside, _) = try request.stream([path])
        request.crossDocument = true
        let (across, _) = try request.stream([path])
        #expect(across.allSatisfy { $0.segmentEnds.allSatisfy { $0.count <= 1 } })
        #expect(across.map(\.targets) == inside.map(\.targets) && across.map(\.inputs) == inside.map(\.inputs))
        #expect(across.map(\.realPositions) == inside.map(\.realPositions))
    }

    /// Without an end-of-document id a document's first token cannot be predicted: masked out, everything else in.
    @Test(arguments: Request.kinds) func withoutEndOfDocumentFirstTokensAreMasked(kind: Request) throws {
        let directory = try TemporaryDirectory()
        let documents = countedDocuments([[3, 1, 20, 8, 9], [7, 30, 2]])
        try writeDataset(
            directory.path + "/d", shards: documents, vocabularySize: 80, endOfDocument: nil, name: "ids")
        let starts = Set(documents.joined().map { $0[0] })
        for batch in try kind.stream([directory.path + "/d"]).batches {
            let mask = try #require(batch.lossMask)
            for row in 0..<batch.rows {
                for position in 0..<batch.length {
                    let at = row * batch.length + position
                    let target = batch.targets[at]
                    if position >= Int(batch.segmentEnds[row].last ?? 0) {
                        #expect(!mask[at] && target == 0 && batch.inputs[at] == 0)
                    } else {
                        #expect(mask[at] == !starts.contains(target))
                        #expect(batch.inputs[at] == (starts.contains(target) ? target : target - 1))
                    }
                }
            }
        }
    }

    @Test func wideIdsAndFrameBorders() throws {
        let directory = try TemporaryDirectory()
        // 150,000 u32 ids are three frames of 65,536; documents longer and shorter than rows lie across their borders.
        let documents = countedDocuments([[70_000, 10, 61_526, 1, 463, 18_000]])
        let total = documents[0].reduce(0) { $0 + $1.count }
        try writeDataset(
            directory.path + "/d", shards: documents, vocabularySize: total + 1, endOfDocument: total, name: "wide")
        for var request in Request.kinds {
            for length in [1000, 65_536, 100_000] {
                (request.length, request.rows) = (length, 2)
                let (batches, _) = try request.stream([directory.path + "/d"])
                #expect(segments(batches).flatMap(\.targets).sorted() == Array(0..<UInt32(total)), "\(request)")
                for (inputs, targets) in segments(batches) where inputs[0] != total {
                    #expect(inputs[0] + 1 == targets[0])
                }
            }
        }
    }

    @Test func severalDatasetsAreOne() throws {
        let directory = try TemporaryDirectory()
        let documents = countedDocuments([[5, 9, 2], [8, 8], [30]])
        func write(_ name: String, _ shards: [[[UInt32]]]) throws -> String {
            try writeDataset(
                directory.path + "/" + name, shards: shards, vocabularySize: 100, endOfDocument: 99, name: "counted")
            return directory.path + "/" + name
        }
        let parts = [try write("a", [documents[0]]), try write("b", [documents[1], documents[2]])]
        let together = try write("c", documents)
        let request = Request()
        #expect(try request.stream(parts).batches.map(\.targets) == request.stream([together]).batches.map(\.targets))
        try writeDataset(directory.path + "/other", shards: [[[1, 256]]])
        #expect {
            try request.stream([parts[0], directory.path + "/other"])
        } throws: {
            let fault = $0 as? Fault
            return fault?.kind == .badData && fault?.message.contains("'\(parts[0])'") == true
                && fault?.message.contains("other' differ in vocabulary size: 100 and 257") == true
        }
    }

    @Test(arguments: Request.kinds) func rowsToEmitIsWhatIsEmitted(kind: Request) throws {
        let directory = try TemporaryDirectory()
        var generator = Generator(state: 10)
        let path = directory.path + "/d"
        try writeDataset(path, shards: [randomDocuments(40, longest: 25, &generator)])
        var request = kind
        request.epochs = 2
        let (whole, _) = try request.stream([path])
        #expect(try request.producer([path]).rowsToEmit() == whole.count * 3)
        for cut in 1...whole.count {
            request.cursor = whole[cut - 1].cursor
            #expect(try request.producer([path]).rowsToEmit() == (whole.count - cut) * 3)
        }
        (request.epochs, request.cursor) = (nil, nil)
        #expect(try request.producer([path]).rowsToEmit() == nil)
        request.limit = 5
        #expect(try request.producer([path]).rowsToEmit() == 15)
    }
}

@Suite struct CursorRefusalTests {
    private func dataset() throws -> (TemporaryDirectory, String) {
        let directory = try TemporaryDirectory()
        var generator = Generator(state: 11)
        try writeDataset(directory.path + "/d", shards: [randomDocuments(60, longest: 25, &generator)])
        return (directory, directory.path + "/d")
    }

    private func message(_ request: Request, _ path: String) -> String {
        do {
            _ = try request.stream([path])
            return "accepted"
        } catch {
            guard let fault = error as? Fault, fault.kind == .usage else { return "not a usage error: \(error)" }
            return fault.message
        }
    }

    @Test func aCursorOfAnotherRecipeSaysWhatDiffers() throws {
        let (directory, path) = try dataset()
        var first = Request()
        first.limit = 2
        let cursor = try first.stream([path]).end.cursor
        func changed(_ change: (inout Request) -> Void) -> String {
            var request = Request()
            request.cursor = cursor
            change(&request)
            return message(request, path)
        }
        #expect(changed { _ in } == "accepted")
        #expect(changed { $0.seed = 5 }.contains("--seed is 1 in the cursor, 5 here"))
        #expect(changed { $0.length = 9 } == "accepted")
        #expect(changed { $0.lanes = 3 }.contains("--lanes is 1 in the cursor, 3 here"))
        #expect(changed { $0.mask = .after(separator: 7) }.contains("the cursor was made without a loss mask"))
        #expect(changed { $0.order = .full }.contains("--order is window in the cursor, full here"))
        #expect(changed { $0.packing = .concat }.contains("--pack is best-fit in the cursor, concat here"))
        #expect(changed { $0.crossDocument = true }.contains("without --cross-document"))
        #expect(changed { ($0.seed, $0.packing) = (5, .concat) }.contains("more than one of"))
        var generator = Generator(state: 12)
        try writeDataset(directory.path + "/e", shards: [randomDocuments(60, longest: 25, &generator)])
        var other = Request()
        other.cursor = cursor
        #expect(message(other, directory.path + "/e").contains("the dataset differs"))
    }

    @Test func aCursorThatContradictsItselfIsRefused() throws {
        let (directory, path) = try dataset()
        defer { _ = directory }
        var first = Request()
        first.limit = 2
        let parts = try first.stream([path]).end.cursor.split(separator: ":").map(String.init)
        for (part, value) in [
            (2, "1"), (2, "9"), (3, "1"), (3, "2305843009213693952"), (4, "999999"), (5, "8"), (6, "7"),
            (6, "2305843009213693952"), (7, "1"), (8, "1"), (2, "2305843009213693952"),
        ] {
            var changed = parts
            changed[part] = value
            var request = Request()
            request.epochs = nil
            request.limit = 1
            request.cursor = changed.joined(separator: ":")
            #expect(message(request, path).contains("the cursor cannot be followed"), "part \(part) = \(value)")
        }
    }

    @Test func aRunThatIsOverGoesNowhere() throws {
        let (directory, path) = try dataset()
        defer { _ = directory }
        var request = Request()
        let end = try request.stream([path]).end
        request.cursor = end.cursor
        let again = try request.stream([path])
        #expect(again.batches.isEmpty && again.end == end)
        request.epochs = 2
        #expect(try request.stream([path]).end.ledger.tokensIn == 2 * end.ledger.tokensIn)
    }
}
