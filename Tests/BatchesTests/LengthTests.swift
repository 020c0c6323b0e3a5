// A curriculum of lengths: a run stops at a cursor and goes on with longer or shorter rows. What is left of the open
// window is packed anew, the rest of the epoch keeps its blocks, and every token is still a target once an epoch.

import Batches
import Bytes
import Testing
import Tokens

@Suite struct LengthTests {
    /// Counted documents; some are longer than any row.
    private func dataset(_ path: String, _ state: UInt64, scale: Int = 1) throws -> Int {
        var generator = Generator(state: state)
        let documents = countedDocuments([
            (0..<40 * scale).map { $0 % 13 == 0 ? 90 : Int.random(in: 1...25, using: &generator) },
            (0..<20 * scale).map { _ in Int.random(in: 1...40, using: &generator) },
        ])
        let total = documents.joined().reduce(0) { $0 + $1.count }
        try writeDataset(
            path, shards: documents, vocabularySize: total + 1, endOfDocument: total, name: "counted")
        return total
    }

    @Test(arguments: Request.kinds) func everyTokenIsATargetOnceWhateverTheLengths(kind: Request) throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/d"
        let total = try dataset(path, 5)
        for lengths in [[8, 16, 32], [32, 8], [7, 64, 5, 16], [16, 8, 16, 8, 24, 3, 64]] {
            for rows in [1, 3] {
                var request = kind
                request.epochs = 2
                var all: [TokenBatch] = []
                var tokensIn = 0
                for (index, length) in lengths.enumerated() {
                    (request.length, request.rows) = (length, rows + index % 2)
                    request.limit = index == lengths.count - 1 ? nil : 1 + 60 / length
                    let (batches, end) = try request.stream([path])
                    all += batches
                    request.cursor = end.cursor
                    tokensIn = end.ledger.tokensIn
                    #expect(end.batches == all.count)
                    #expect(end.ledger.emitted == segments(all).reduce(0) { $0 + $1.targets.count })
                }
                var seen = [Int](repeating: 0, count: total)
                for (inputs, targets) in segments(all) {
                    for (position, target) in targets.enumerated() {
                        seen[Int(target)] += 1
                        #expect(inputs[position] == target &- 1 || inputs[position] == total)
                    }
                }
                #expect(seen.allSatisfy { $0 == 2 }, "\(kind), \(lengths)")
                #expect(tokensIn == 2 * total)
            }
        }
    }

    /// Once the length has changed the run is as well cut anywhere.
    @Test(arguments: Request.kinds) func aCutAfterAChangeChangesNothing(kind: Request) throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/d"
        _ = try dataset(path, 6)
        var request = kind
        (request.epochs, request.limit) = (2, 9)
        request.cursor = try request.stream([path]).end.cursor
        (request.length, request.limit) = (20, nil)
        let (whole, end) = try request.stream([path])
        #expect(try request.producer([path]).rowsToEmit() == whole.count * request.rows)
        for cut in 1..<whole.count {
            var rest = request
            (rest.cursor, rest.threads) = (whole[cut - 1].cursor, 1 + cut % 2)
            let (tail, done) = try rest.stream([path])
            #expect(tail == Array(whole[cut...]) && done == end, "cut at \(cut)")
            #expect(try rest.producer([path]).rowsToEmit() == tail.count * request.rows)
        }
    }

    /// Longer rows hold longer pieces of documents, not two old rows side by side.
    @Test func longerRowsHoldLongerDocuments() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/d"
        _ = try dataset(path, 7)
        var request = Request(length: 8, limit: 2)
        request.cursor = try request.stream([path]).end.cursor
        (request.length, request.limit) = (64, nil)
        #expect(segments(try request.stream([path]).batches).contains { $0.targets.count == 64 })
    }

    /// The recipe that HEAD names is that of the run, so that the trainer knows its stream again.
    @Test func theRecipeStaysTheSame() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/d"
        _ = try dataset(path, 8)
        var request = Request(length: 8, limit: 4)
        let first = try request.producer([path]).head
        request.cursor = try request.stream([path]).end.cursor
        request.length = 16
        let second = try request.producer([path]).head
        #expect(second.recipe == first.recipe && second.length == 16 && second.start == request.cursor)
        request.cursor = try request.stream([path]).end.cursor
        #expect(request.cursor?.hasPrefix("2:") == true)
        request.seed = 5
        #expect { try request.producer([path]) } throws: { ($0 as? Fault)?.message.contains("--seed is 1") == true }
    }

    @Test func tooManyChangesInOneWindowAreRefused() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/d"
        _ = try dataset(path, 9)
        var request = Request(rows: 1, limit: 1)
        var message = ""
        for length in 4...14 {
            request.length = length
            do { request.cursor = try request.stream([path]).end.cursor } catch let fault as Fault {
                message = fault.message
                break
            }
        }
        #expect(message == "the length of rows has changed 8 times in this window already")
    }

    @Test func aTamperedCursorIsRefused() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/d"
        _ = try dataset(path, 10)
        var request = Request(limit: 4)
        request.cursor = try request.stream([path]).end.cursor
        request.length = 12
        let good = try request.stream([path]).end.cursor
        let most = "2305843009213693952"
        var refused = 0
        let parts = good.split(separator: ":").map(String.init)
        for part in 2..<9 {
            for value in ["0", most] where parts[part] != value {
                var changed = parts
                changed[part] = value
                request.cursor = changed.joined(separator: ":")
                if (try? request.stream([path])) == nil { refused += 1 }
            }
        }
        let fields = parts[9].split(separator: ".").map(String.init)
        for field in fields.indices {
            for value in ["0", most] {
                var (changed, place) = (parts, fields)
                place[field] = value
                changed[9] = place.joined(separator: ".")
                request.cursor = changed.joined(separator: ":")
                _ = try? request.stream([path])
            }
        }
        #expect(refused >= 10)
    }
}
