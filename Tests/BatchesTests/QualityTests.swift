// How good the order and the packing are, in numbers: the order of whole streams must look as chance would have it, and
// best-fit must beat what others do.

import Batches
import Bytes
import Testing
import Tokens

@Suite struct QualityTests {
    /// chi² per degree of freedom of where in the dataset rows come from, of their number mod 64, and of the distance
    /// from one to the next, over the first 4096 rows of 40 seeds: the standard deviation of chance is 0.028. Rows are
    /// single tokens whose id is their place.
    @Test(arguments: [Order.window, .full], [Packing.concat, .bestFit])
    func theOrderOfAStreamLooksRandom(order: Order, packing: Packing) throws {
        let directory = try TemporaryDirectory()
        let count = 1 << 20
        let path = directory.path + "/d"
        let documents = (0..<count / 4).map { number in (0..<4).map { UInt32(4 * number + $0) } }
        try writeDataset(
            path, shards: [Array(documents[..<100_000]), Array(documents[100_000...])], vocabularySize: count + 1,
            endOfDocument: count, name: "counted")
        var sums = [0.0, 0.0, 0.0]
        let seeds = 40
        for seed in 0..<seeds {
            var request = Request(length: 1, rows: 4097, order: order, packing: packing, limit: 1, threads: 2)
            request.seed = UInt64(seed)
            let places = try #require(try request.stream([path]).batches.first).targets.map { Int($0) }
            let draws = Array(places.prefix(4096))
            let gaps = zip(places, places.dropFirst()).map { ($1 - $0 + count) % count }
            for (index, values) in [draws.map { $0 * 64 / count }, draws.map { $0 % 64 }, gaps.map { $0 * 64 / count }]
                .enumerated()
            {
                var bins = [Double](repeating: 0, count: 64)
                for value in values { bins[value] += 1 }
                sums[index] += bins.reduce(0) { $0 + ($1 - 64) * ($1 - 64) / 64 } / 63
            }
        }
        for (what, sum) in zip(["place", "mod 64", "gap"], sums) {
            #expect((0.9...1.1).contains(sum / Double(seeds)), "chi²/dof of \(what): \(sum / Double(seeds))")
        }
    }

    /// The blocks of an epoch's windows: which come first is chance too.
    @Test func theOrderOfBlocksLooksRandom() {
        var sum = 0.0
        for key in 0..<64 {
            let permutation = FeistelPermutation(count: 7_629_395, key: (UInt64(key), 99))
            var bins = [Double](repeating: 0, count: 64)
            for index in 0..<4096 { bins[permutation(index) * 64 / 7_629_395] += 1 }
            sum += bins.reduce(0) { $0 + ($1 - 64) * ($1 - 64) / 64 } / 63
        }
        #expect((0.9...1.1).contains(sum / 64), "chi²/dof \(sum / 64)")
    }

    @Test func inverseUndoesThePermutation() {
        for count in [1, 2, 3, 5, 64, 65, 1000, 4097, 1 << 40] {
            let permutation = FeistelPermutation(count: count, key: (7, 8))
            for index in [0, 1, 2, 4, 63, 64, 999, 4096, 1 << 39] where index < count {
                #expect(permutation.inverse(permutation(index)) == index)
            }
        }
    }

    /// Documents as in a web corpus: most short, some longer than a row. The reports must be those of the rows themselves.
    @Test func bestFitWastesLessThanFirstFitAndSplitsLessThanConcat() throws {
        let directory = try TemporaryDirectory()
        var generator = Generator(state: 77)
        let documents = (0..<4000).map { _ in
            let longest = [40, 200, 200, 700, 3000][Int.random(in: 0..<5, using: &generator)]
            return (0..<Int.random(in: 2...longest, using: &generator)).map { UInt32($0 % 256) }
        }
        let path = directory.path + "/d"
        try writeDataset(path, shards: [documents.map { $0.dropLast() + [256] }])
        let reports = try PackingReport.compare(try TokenSource([Dataset(path)]), length: 512)
        let named = Dictionary(uniqueKeysWithValues: reports.map { ($0.packing, $0) })
        let (best, first) = (try #require(named["best-fit"]), try #require(named["first-fit"]))
        let (concat, pad) = (try #require(named["concat"]), try #require(named["pad"]))
        let total = documents.reduce(0) { $0 + $1.count }
        for report in reports { #expect(report.tokens == total && report.documents == 4000, "\(report.packing)") }
        #expect(best.waste < 0.01 && best.waste <= first.waste && first.waste < 0.05)
        #expect(concat.waste < 0.001 && pad.waste > 0.3)
        // Only what is longer than a row is split; concat splits more than every third document here.
        let long = documents.count { $0.count > 512 }
        #expect(best.split == long && first.split == long && pad.split == long)
        #expect(concat.split > long * 3 / 2)
        for (report, packing) in [(best, Packing.bestFit), (concat, .concat), (pad, .pad)] {
            let (batches, end) = try Request(length: 512, rows: 1, packing: packing).stream([path])
            #expect(batches.count == report.rows && end.ledger.padded == report.padded)
            let pieces = segments(batches)
            #expect(pieces.count { $0.inputs[0] != 256 } == report.cuts)
        }
    }
}
