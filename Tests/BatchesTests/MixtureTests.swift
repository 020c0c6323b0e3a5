// Mixed runs: shares hold at every row, sources are read whole in each of their epochs and in another order each time,
// and neither a cut, other shares nor a new source loses or repeats a token.

import Batches
import Bytes
import Testing
import Tokens

/// Datasets of one-token-a-target documents whose ids say where they come from: source k has ids k·1000 … .
private func writeSources(_ directory: String, _ counts: [Int]) throws -> [String] {
    var paths: [String] = []
    for (source, count) in counts.enumerated() {
        var generator = Generator(state: UInt64(source))
        var next = UInt32(source * 1000)
        var documents: [[UInt32]] = []
        let end = next + UInt32(count)
        while next < end {
            let length = min(UInt32.random(in: 1...19, using: &generator), end - next)
            documents.append(Array(next..<next + length))
            next += length
        }
        paths.append(directory + "/\(source)")
        try writeDataset(paths[source], shards: [documents], vocabularySize: 9000, endOfDocument: 8999, name: "counted")
    }
    return paths
}

/// The source of each row that is not padding.
private func rowSources(_ batches: [TokenBatch]) -> [Int] {
    batches.flatMap { batch in
        (0..<batch.rows).compactMap { row in
            batch.segmentEnds[row].isEmpty ? nil : Int(batch.targets[row * batch.length] / 1000)
        }
    }
}

/// How often each target was emitted.
private func tally(_ batches: [TokenBatch]) -> [UInt32: Int] {
    var counts: [UInt32: Int] = [:]
    for (_, targets) in segments(batches) { for target in targets { counts[target, default: 0] += 1 } }
    return counts
}

@Suite struct MixtureTests {
    @Test(arguments: [
        ("0.7", 700_000_000), ("1", 1_000_000_000) as (String, Int?), ("3.", nil), (".25", 250_000_000), ("", nil),
        (".", nil), ("-1", nil),
        ("1e3", nil), ("0.1234567890", nil), ("1000000", 1_000_000_000_000_000), ("1000000.1", nil), ("10000000", nil),
        ("0", 0), ("+1", nil), ("0.7 ", nil),
    ]) func weightsAreDecimalNumbers(text: String, billionths: Int?) throws {
        #expect((MixingWeight(text) == nil) == (billionths == nil))
        guard let billionths, billionths > 0, let weight = MixingWeight(text) else { return }
        // In proportion to one billionth.
        #expect(Mixture([weight, MixingWeight("0.000000001")!])?.shares == [billionths, 1])
    }

    @Test func sharesAreReduced() throws {
        func shares(_ texts: [String]) -> [Int]? { Mixture(texts.map { MixingWeight($0)! })?.shares }
        #expect(shares(["0.7", "0.3"]) == [7, 3])
        #expect(shares(["70", "30"]) == [7, 3])
        #expect(shares(["1", "0", "0.5"]) == [2, 0, 1])
        #expect(shares(["0", "0"]) == nil)
    }

    @Test(arguments: Order.allCases) func sharesHoldAtEveryRow(order: Order) throws {
        let directory = try TemporaryDirectory()
        let paths = try writeSources(directory.path, [900, 400, 150])
        let request = Request(
            length: 8, rows: 3, order: order, epochs: nil, limit: 200, weights: ["0.6", "0.3", "0.1"])
        var taken = [0.0, 0, 0]
        for (number, source) in rowSources(try request.stream(paths).batches).enumerated() {
            taken[source] += 1
            for (share, count) in zip([0.6, 0.3, 0.1], taken) {
                #expect(abs(share * Double(number + 1) - count) < 1, "row \(number)")
            }
        }
    }

    /// Windows that are not held as a whole give the same stream, also from inside one and with other lengths on the way.
    @Test(arguments: Request.kinds) func windowsThatAreNotHeldChangeNothing(kind: Request) throws {
        let directory = try TemporaryDirectory()
        let paths = try writeSources(directory.path, [900, 400, 150])
        var request = kind
        (request.weights, request.limit, request.threads) = (["0.6", "0.3", "0.1"], 11, 2)
        for length in [8, 8, 5, 12] {
            request.length = length
            request.windowBytes = nil
            let whole = try request.bytes(paths)
            request.windowBytes = 0
            #expect(try request.bytes(paths) == whole, "\(kind)")
            request.cursor = try readAll(whole).end.cursor
        }
    }

    /// Every source's epochs are whole; the run is over when the slowest has had its number of them.
    @Test(arguments: Request.kinds) func everySourceIsReadWholeInEachOfItsEpochs(kind: Request) throws {
        let directory = try TemporaryDirectory()
        let counts = [700, 90]
        let paths = try writeSources(directory.path, counts)
        var request = kind
        (request.weights, request.epochs) = (["0.75", "0.25"], 2)
        let (batches, end) = try request.stream(paths)
        let tally = tally(batches)
        for (source, count) in counts.enumerated() {
            let times = (0..<count).map { tally[UInt32(source * 1000 + $0)] ?? 0 }
            // What is emitted of an epoch that was not finished is emitted once.
            #expect((times.max() ?? 0) - (times.min() ?? 0) <= 1, "\(kind)")
            #expect((times.min() ?? 0) >= 2)
        }
        #expect((0..<700).allSatisfy { tally[UInt32($0)] == 2 })
        #expect(end.ledger.tokensIn == end.ledger.emitted + end.ledger.leftOver)
    }

    @Test(arguments: [Order.window, .full]) func aSmallSourceComesInAnotherOrderEachTime(order: Order) throws {
        let directory = try TemporaryDirectory()
        let paths = try writeSources(directory.path, [900, 200])
        let request = Request(
            length: 4, rows: 1, order: order, packing: .concat, epochs: nil, limit: 400, weights: ["1", "1"])
        let second = try request.stream(paths).batches.filter { $0.targets[0] >= 1000 && $0.targets[0] < 2000 }
            .map { $0.targets }
        let epochs = stride(from: 0, to: second.count - 50, by: 50).map { Array(second[$0..<$0 + 50]) }
        #expect(epochs.count >= 3)
        for (one, other) in zip(epochs, epochs.dropFirst()) {
            #expect(Set(one) == Set(other) && zip(one, other).count { $0 == $1 } < 15)
        }
    }

    @Test(arguments: Request.kinds) func aCutChangesNothing(kind: Request) throws {
        let directory = try TemporaryDirectory()
        let paths = try writeSources(directory.path, [300, 80, 50])
        var request = kind
        (request.weights, request.epochs) = (["5", "2", "0.3"], 1)
        let (whole, end) = try request.stream(paths)
        for cut in 0..<whole.count {
            var rest = request
            rest.cursor = cut == 0 ? nil : whole[cut - 1].cursor
            rest.threads = 1 + cut % 3
            let (tail, done) = try rest.stream(paths)
            #expect(tail == Array(whole[cut...]), "cut at \(cut)")
            #expect(done == end)
        }
    }

    /// Shares change on the way, a source is switched off and on again, and a third one comes in: each source still goes
    /// through its epochs token by token.
    @Test(arguments: Request.kinds) func sharesMayChangeAtACursor(kind: Request) throws {
        let directory = try TemporaryDirectory()
        let paths = try writeSources(directory.path, [900, 400, 300])
        var all: [TokenBatch] = []
        var request = kind
        request.epochs = nil
        let plan: [(weights: [String], limit: Int)] = [
            (["1", "1"], 7), (["9", "1"], 11), (["1", "0"], 5), (["1", "3"], 9), (["1", "1", "1"], 60),
        ]
        for index in plan.indices {
            (request.weights, request.limit) = plan[index]
            let (batches, end) = try request.stream(Array(paths[..<request.weights.count]))
            let sources = rowSources(batches)
            let total = request.weights.reduce(0.0) { $0 + Double($1)! }
            for (source, weight) in request.weights.enumerated() {
                let share = Double(weight)! / total * Double(sources.count)
                #expect(abs(share - Double(sources.count { $0 == source })) < 1.01, "\(request.weights)")
            }
            all += batches
            request.cursor = end.cursor
        }
        let tally = tally(all)
        for (source, count) in [900, 400, 300].enumerated() {
            let times = (0..<count).map { tally[UInt32(source * 1000 + $0)] ?? 0 }
            #expect((times.max() ?? 0) - (times.min() ?? 0) <= 1, "\(kind), source \(source)")
        }
    }

    /// A plain run goes on as a mixed one: its cursor of version 1 is the first source's place.
    @Test func aPlainRunBecomesAMixedOne() throws {
        let directory = try TemporaryDirectory()
        let paths = try writeSources(directory.path, [600, 200])
        var request = Request(epochs: 1, limit: 10)
        let (first, partial) = try request.stream([paths[0]])
        #expect(partial.cursor.hasPrefix("1:"))
        (request.cursor, request.weights, request.limit) = (partial.cursor, ["1", "1"], nil)
        let (second, end) = try request.stream(paths)
        #expect(end.cursor.hasPrefix("2:"))
        let tally = tally(first + second)
        #expect((0..<600).allSatisfy { tally[UInt32($0)] == 1 })
        #expect(end.batches == first.count + second.count)
        // And a weight for a single dataset changes nothing.
        var alone = Request(epochs: 1)
        let plain = try alone.bytes([paths[0]])
        alone.weights = ["0.5"]
        #expect(try alone.bytes([paths[0]]) == plain)
    }

    @Test func sourcesCannotBeTakenAway() throws {
        let directory = try TemporaryDirectory()
        let paths = try writeSources(directory.path, [300, 80])
        var request = Request(limit: 3, weights: ["1", "1"])
        request.cursor = try request.stream(paths).end.cursor
        request.weights = []
        #expect {
            try request.stream([paths[0]])
        } throws: {
            ($0 as? Fault)?.message == "the cursor is of a run over 2 sources, 1 were given"
        }
        request.weights = ["1", "1"]
        #expect {
            try request.stream(paths.reversed())
        } throws: {
            ($0 as? Fault)?.message.contains("the dataset differs") == true
        }
    }
}
