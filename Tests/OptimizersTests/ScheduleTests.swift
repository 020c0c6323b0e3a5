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
}
