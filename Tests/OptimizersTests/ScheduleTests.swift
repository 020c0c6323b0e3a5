import Optimizers
import Testing

@Suite struct ScheduleTests {
    let schedule = Schedule(peak: 1e-3, floor: 1e-4, warmupSteps: 10, steps: 110)

    @Test func warmUpRisesLinearlyToThePeak() {
        #expect(schedule.rate(afterSteps: 0) == 1e-3 * 1 / 10)
        #expect(schedule.rate(afterSteps: 4) == 1e-3 * 5 / 10)
        #expect(schedule.rate(afterSteps: 9) == 1e-3)
    }

    @Test func theCosineFallsFromPeakToFloorAndStaysThere() {
        #expect(schedule.rate(afterSteps: 10) == 1e-3)
        #expect(abs(schedule.rate(afterSteps: 60) - 5.5e-4) < 1e-15)
        // cos 45°.
        #expect(abs(schedule.rate(afterSteps: 35) - (1e-4 + 9e-4 * 0.5 * (1 + 0.707106781186547))) < 1e-14)
        for step in 10..<109 { #expect(schedule.rate(afterSteps: step + 1) < schedule.rate(afterSteps: step)) }
        #expect(schedule.rate(afterSteps: 109) > 1e-4)
        for step in [110, 111, 100_000] { #expect(schedule.rate(afterSteps: step) == 1e-4) }
    }

    @Test func aFloorAtThePeakIsAConstantRate() {
        let constant = Schedule(peak: 3e-4, floor: 3e-4, warmupSteps: 0, steps: 50)
        for step in 0..<60 { #expect(constant.rate(afterSteps: step) == 3e-4) }
    }

    @Test func noWarmUpAndNoStepsAreFine() {
        #expect(Schedule(peak: 3e-4, floor: 3e-5, warmupSteps: 0, steps: 4).rate(afterSteps: 0) == 3e-4)
        #expect(Schedule(peak: 1, floor: 0.5, warmupSteps: 0, steps: 0).rate(afterSteps: 0) == 0.5)
        #expect(Schedule(peak: 1, floor: 0.5, warmupSteps: 8, steps: 4).rate(afterSteps: 3) == 0.5)
    }

    private func rates(_ schedule: Schedule, _ steps: Range<Int>) -> [Double] { steps.map(schedule.rate(afterSteps:)) }

    @Test func constantStaysAtThePeakBehindItsEnd() {
        let constant = Schedule(.constant, peak: 2, floor: 0.5, warmupSteps: 2, steps: 4)
        #expect(rates(constant, 0..<7) == [1, 2, 2, 2, 2, 2, 2])
    }

    @Test func linearFallsByTheSameAmountEachStep() {
        let linear = Schedule(.linear, peak: 1, floor: 0.5, warmupSteps: 2, steps: 6)
        #expect(rates(linear, 0..<8) == [0.5, 1, 1, 0.875, 0.75, 0.625, 0.5, 0.5])
    }

    @Test func warmupStableDecayHoldsThePeakUntilTheDecay() {
        let wsd = Schedule(.wsd, peak: 1, floor: 0, warmupSteps: 1, steps: 10, decaySteps: 4)
        #expect(rates(wsd, 0..<11) == [1, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0])
        let undecayed = Schedule(.wsd, peak: 1, floor: 0, warmupSteps: 0, steps: 3)
        #expect(rates(undecayed, 0..<4) == [1, 1, 1, 0])
    }

    @Test func inverseSquareRootMeetsTheWarmUpAtThePeak() {
        let schedule = Schedule(.inverseSquareRoot, peak: 8, floor: 1, warmupSteps: 4, steps: 8)
        #expect(rates(schedule, 0..<4) == [2, 4, 6, 8])
        #expect(schedule.rate(afterSteps: 15) == 4)
        #expect(schedule.rate(afterSteps: 63) == 2)
        #expect(schedule.rate(afterSteps: 4000) == 1)
        #expect(Schedule(.inverseSquareRoot, peak: 8, floor: 0, warmupSteps: 0, steps: 8).rate(afterSteps: 3) == 4)
    }

    @Test func aRestartBeginsAgainFromThePeakWithoutWarmUp() {
        let linear = Schedule(.linear, peak: 1, floor: 0, warmupSteps: 2, steps: 12, restartEvery: 4)
        #expect(rates(linear, 0..<13) == [0.5, 1, 1, 0.75, 0.5, 0.25, 1, 0.75, 0.5, 0.25, 1, 0.75, 0])
        let cosine = Schedule(peak: 1, floor: 0, warmupSteps: 0, steps: 100, restartEvery: 10)
        let once = Schedule(peak: 1, floor: 0, warmupSteps: 0, steps: 10)
        for step in 0..<100 { #expect(cosine.rate(afterSteps: step) == once.rate(afterSteps: step % 10)) }
        let wsd = Schedule(.wsd, peak: 1, floor: 0, warmupSteps: 0, steps: 8, decaySteps: 2, restartEvery: 4)
        #expect(rates(wsd, 0..<9) == [1, 1, 1, 0.5, 1, 1, 1, 0.5, 0])
    }
}
