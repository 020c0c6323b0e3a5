// Ranks and lanes: each rank's stream has its rows of every batch, all of them together are the stream of one, and all
// carry the cursors of the whole run, so that a run may go on with another number of ranks.

import Batches
import Bytes
import Testing
import Tokens

@Suite struct RankTests {
    private func dataset() throws -> (TemporaryDirectory, String) {
        let directory = try TemporaryDirectory()
        var generator = Generator(state: 21)
        try writeDataset(directory.path + "/d", shards: [randomDocuments(90, longest: 25, &generator)])
        return (directory, directory.path + "/d")
    }

    private struct Row: Equatable {
        var inputs: [UInt32]
        var targets: [UInt32]
        var ends: [Int32]
    }

    private func rows(_ batch: TokenBatch) -> [Row] {
        (0..<batch.rows).map { row in
            let range = row * batch.length..<(row + 1) * batch.length
            return Row(
                inputs: Array(batch.inputs[range]), targets: Array(batch.targets[range]), ends: batch.segmentEnds[row])
        }
    }

    @Test(arguments: Request.kinds) func theRanksTogetherAreTheStream(kind: Request) throws {
        let (directory, path) = try dataset()
        defer { _ = directory }
        var request = kind
        (request.rows, request.epochs) = (12, 2)
        let (whole, end) = try request.stream([path])
        for world in [2, 3, 4, 12] {
            request.world = world
            let streams = try (0..<world).map { rank in
                request.rank = rank
                request.threads = 1 + rank % 2
                return try request.stream([path])
            }
            for (index, batch) in whole.enumerated() {
                let parts = streams.map { rows($0.batches[index]) }
                let together = (0..<12).map { parts[$0 % world][$0 / world] }
                #expect(together == rows(batch))
                for stream in streams {
                    #expect(stream.batches[index].cursor == batch.cursor && stream.batches[index].index == index)
                }
            }
            for stream in streams {
                #expect(stream.end.run?.orderDigest == end.orderDigest && stream.end.run?.ledger == end.ledger)
                #expect(stream.end.batches == end.batches && stream.end.rows * world == end.rows)
            }
            #expect(streams.reduce(0) { $0 + $1.end.ledger.emitted } == end.ledger.emitted)
        }
    }

    @Test func anotherNumberOfRanksGoesOn() throws {
        let (directory, path) = try dataset()
        defer { _ = directory }
        var request = Request(rows: 4)
        let (whole, end) = try request.stream([path])
        (request.world, request.rank, request.limit) = (4, 3, 5)
        let partial = try request.stream([path]).end
        #expect(partial.cursor == whole[4].cursor)
        (request.world, request.rank, request.limit, request.cursor) = (2, 1, nil, partial.cursor)
        let rest = try request.stream([path])
        #expect(rest.end.run?.orderDigest == end.orderDigest && rest.end.cursor == end.cursor)
        (request.world, request.rank) = (1, 0)
        #expect(try request.stream([path]).end == end)
    }

    /// Row j of a batch is row j div L of lane j mod L, lanes lie one after the other, and rank r of N has lanes r, r + N, ….
    @Test func lanesLieOneAfterTheOther() throws {
        let (directory, path) = try dataset()
        defer { _ = directory }
        var request = Request(rows: 12)
        let (whole, end) = try request.stream([path])
        request.lanes = 4
        let (laned, lanedEnd) = try request.stream([path])
        for (one, other) in zip(whole, laned) {
            let inLanes = rows(other)
            let unlaned = (0..<12).map { inLanes[$0 % 4 * 3 + $0 / 4] }
            #expect(unlaned == rows(one))
        }
        #expect(lanedEnd.orderDigest == end.orderDigest)
        for rank in 0..<2 {
            (request.world, request.rank) = (2, rank)
            let (part, partEnd) = try request.stream([path])
            for (all, own) in zip(laned, part) {
                let all = rows(all)
                let expected = Array(all[(rank * 3)..<(rank * 3 + 3)]) + Array(all[(rank * 3 + 6)..<(rank * 3 + 9)])
                #expect(rows(own) == expected)
            }
            #expect(partEnd.run?.orderDigest == end.orderDigest)
        }
    }

    @Test(arguments: [
        (12, 0, 5, 1, "batches of 12 rows, expected a multiple of the 5 ranks"),
        (12, 3, 3, 1, "rank 3 of 3, expected a rank from 0 to below the number of ranks"),
        (12, 0, 4, 6, "6 lanes of 4 ranks: expected a multiple of the ranks"),
        (12, 0, 1, 8, "batches of 12 rows, expected a multiple of the 8 lanes"),
    ]) func whatCannotBeSharedIsRefused(rows: Int, rank: Int, world: Int, lanes: Int, message: String) throws {
        let (directory, path) = try dataset()
        defer { _ = directory }
        var request = Request(rows: rows)
        (request.rank, request.world, request.lanes) = (rank, world, lanes)
        #expect { try request.producer([path]) } throws: { ($0 as? Fault)?.message == message }
    }

    @Test func masksGoWithTheirRows() throws {
        let (directory, path) = try dataset()
        defer { _ = directory }
        var request = Request(rows: 6, mask: .after(separator: 7))
        let whole = try request.stream([path]).batches
        (request.world, request.rank) = (3, 2)
        for (one, part) in zip(whole, try request.stream([path]).batches) {
            let (mask, own) = (try #require(one.lossMask), try #require(part.lossMask))
            let expected = Array(mask[16..<24]) + Array(mask[40..<48])
            #expect(own == expected)
        }
    }
}
