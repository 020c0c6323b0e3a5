// Threads: order kept for any number of them, errors in order, nothing left behind.

import Bytes
import Synchronization
import Testing

private struct Slip: Error, Equatable { let index: Int }

/// Spends a time that has nothing to do with the order.
private func dawdle(_ index: Int) {
    var noise = Noise(UInt64(index))
    var sum: UInt64 = 0
    for _ in 0..<noise.next() % 3000 { sum &+= noise.next() }
    #expect(sum != 1)
}

@Suite struct ThreadTests {
    @Test(arguments: 0...7) func mapKeepsTheOrder(_ threads: Int) throws {
        var next = 0
        var emitted: [Int] = []
        try orderedParallelMap(
            threads: threads,
            next: { () -> Int? in
                defer { next += 1 }
                return next < 500 ? next : nil
            },
            makeWorker: {
                { index in
                    dawdle(index)
                    return index * 3
                }
            },
            emit: { emitted.append($0) })
        #expect(emitted == (0..<500).map { $0 * 3 })
    }

    @Test(arguments: 1...7) func theFirstErrorInOrderIsThrown(_ threads: Int) {
        var next = 0
        var emitted: [Int] = []
        #expect(throws: Slip(index: 50)) {
            try orderedParallelMap(
                threads: threads,
                next: { () -> Int? in
                    defer { next += 1 }
                    return next
                },
                makeWorker: {
                    { index in
                        if index != 50 { dawdle(index) }
                        if index >= 50 { throw Slip(index: index) }
                        return index
                    }
                },
                emit: { emitted.append($0) })
        }
        #expect(emitted == Array(0..<50))
    }

    @Test(arguments: 1...7) func anErrorOfTheInputComesAfterWhatWasReadBeforeIt(_ threads: Int) {
        var next = 0
        var emitted: [Int] = []
        #expect(throws: Slip(index: 20)) {
            try orderedParallelMap(
                threads: threads,
                next: { () throws -> Int? in
                    if next == 20 { throw Slip(index: 20) }
                    defer { next += 1 }
                    return next
                },
                makeWorker: {
                    { index in
                        dawdle(index)
                        return index
                    }
                },
                emit: { emitted.append($0) })
        }
        #expect(emitted == Array(0..<20))
    }

    @Test(arguments: 1...7) func stoppingEarlyLeavesNoThread(_ threads: Int) {
        let working = Atomic<Int>(0)
        #expect(throws: DownstreamClosed.self) {
            try orderedParallelMap(
                threads: threads, next: { 1 },
                makeWorker: {
                    { (index: Int) in
                        working.add(1, ordering: .relaxed)
                        dawdle(index)
                        working.subtract(1, ordering: .relaxed)
                        return index
                    }
                },
                emit: { _ in throw DownstreamClosed() })
        }
        #expect(working.load(ordering: .relaxed) == 0)
    }

    @Test func atMostTwoItemsAWorkerAreInFlight() throws {
        var read = 0
        var emitted = 0
        var most = 0
        try orderedParallelMap(
            threads: 3,
            next: { () -> Int? in
                read += 1
                most = max(most, read - emitted)
                return read <= 200 ? read : nil
            },
            makeWorker: { { $0 } }, emit: { _ in emitted += 1 })
        #expect(emitted == 200 && most <= 7)
    }

    @Test func waitingGivesUpInTime() {
        let monitor = Monitor(0)
        for milliseconds in [0, 1, 50, 1050] {
            let start = Host.monotonicClock
            let result: Int? = monitor.wait(milliseconds: milliseconds) { $0 == 1 ? $0 : nil }
            let passed = Host.monotonicClock - start
            #expect(result == nil)
            #expect(passed >= Double(milliseconds) / 1000 * 0.95 && passed < Double(milliseconds) / 1000 + 2)
        }
        monitor.update { $0 = 1 }
        #expect(monitor.wait(milliseconds: 10_000) { $0 == 1 ? $0 : nil } == 1)
    }

    @Test func anUpdateWakesWhoWaits() throws {
        let monitor = Monitor(0)
        let answers = Monitor<[Int]>([])
        let threads = try (1...4).map { wanted in
            try WorkerThread {
                monitor.wait { $0 == wanted ? () : nil }
                monitor.update { $0 += 1 }
                answers.update { $0.append(wanted) }
            }
        }
        monitor.update { $0 = 1 }
        for thread in threads { thread.join() }
        threads[0].join()
        #expect(monitor.update { $0 } == 5)
        #expect(answers.update { $0.sorted() } == [1, 2, 3, 4])
    }
}
