// Verdicts: what each question means, the first violation, and what is no question.

import Bytes
import Metrics
import SystemPackage
import Testing

private let healthy = """
    {"step":1,"train_loss":3.0,"tokens":10,"seconds":1.0,"time":1000.0}
    {"step":2,"train_loss":2.5,"tokens":20,"seconds":2.0,"time":1001.0}
    {"step":2,"validation_loss":2.0,"tokens":20,"seconds":2.5,"time":1001.5}
    {"step":3,"train_loss":2.2,"tokens":30,"seconds":3.0,"time":5000.0}

    """

@Suite struct CheckTests {
    let directory: TemporaryDirectory
    init() throws { directory = try TemporaryDirectory() }

    private func verdict(_ text: String, _ checks: [String]) throws -> String? {
        let path = try directory.write(text, to: "m.jsonl")
        let run = try SurveyedRun(MetricsInput(opening: path.string, label: "run"))
        return try MetricsCheck.firstViolation(of: try checks.map { try MetricsCheck($0) }, in: run, now: 5010)
    }

    @Test(arguments: [
        "validation_loss < 2.1", "validation_loss<2.1", "train_loss <= 2.2", "first(train_loss) == 3",
        "min(train_loss) >= 2.2", "max(train_loss) < 3.1", "mean(train_loss) < 2.6", "all(train_loss) < 4",
        "tokens != 20", "step == 3", "no nonfinite", "no nonfinite *_loss", "no stall 60s", "no stall 1.1",
        "no stall 2m", "monotonic step", "monotonic tokens", "age < 1m", "age < 10.5s", "age > 9000ms",
    ])
    func holds(_ check: String) throws { #expect(try verdict(healthy, [check]) == nil) }

    @Test(arguments: [
        ("validation_loss < 2", "the last value is 2, at step 2"),
        ("train_loss > 2.2", "the last value is 2.2, at step 3"),
        ("max(train_loss) < 3", "the highest value is 3, at step 1"),
        ("mean(train_loss) < 2", "the mean of 3 values is 2.5667"),
        ("all(train_loss) < 2.9", "it is 3.0 at step 1"),
        ("perplexity < 5", "the run has no 'perplexity'"),
        ("no stall 400ms", "1 s between steps 1 and 2"),
        ("monotonic train_loss", "it is 2.5 at step 2, after 3 at step 1"),
        ("age < 5s", "the last record was made 10 s ago"),
    ])
    func doesNotHold(_ check: String, _ reason: String) throws {
        #expect(
            try verdict(healthy, ["no nonfinite", check, "step < 0"]) == "'run': '\(check)' does not hold: \(reason)")
    }

    @Test func nonfiniteNumbersAreFoundAndNeverPass() throws {
        let text = healthy + #"{"step":4,"train_loss":null,"train_loss_nonfinite":"inf"}"# + "\n"
        #expect(
            try verdict(text, ["no nonfinite"])
                == "'run': 'no nonfinite' does not hold: 'train_loss' is inf at step 4, line 5")
        #expect(try verdict(text, ["no nonfinite validation_*"]) == nil)
        for check in ["train_loss < 1000", "train_loss > 1e300", "all(train_loss) < 100"] {
            #expect(try verdict(text, [check]) != nil || check == "train_loss > 1e300")
        }
        let nan = healthy + #"{"step":4,"train_loss":null,"train_loss_nonfinite":"nan"}"# + "\n"
        for sign in ["<", "<=", ">", ">=", "=="] { #expect(try verdict(nan, ["train_loss \(sign) 2"]) != nil) }
    }

    @Test func stepsThatGoBackOrRepeatAreFound() throws {
        let back = healthy + "{\"step\":2,\"train_loss\":2.4}\n"
        #expect(try verdict(back, ["monotonic step"])?.hasSuffix("step 2 comes after step 3, line 5") == true)
        let twice = healthy + "{\"step\":3,\"train_loss\":2.1}\n"
        #expect(try verdict(twice, ["monotonic step"])?.hasSuffix("step 3 has 'train_loss' twice, line 5") == true)
    }

    @Test func aPauseBetweenInterruptAndResumeIsNoStall() throws {
        // The clock on the wall jumps by an hour, training time does not.
        #expect(try verdict(healthy, ["no stall 10s"]) == nil)
        let onlyTime = "{\"step\":1,\"time\":1000}\n{\"step\":2,\"time\":1100}\n"
        #expect(try verdict(onlyTime, ["no stall 60s"])?.hasSuffix("100 s between steps 1 and 2") == true)
        #expect(
            try verdict("{\"step\":1}\n", ["no stall 60s"])?.hasSuffix("the run has neither 'seconds' nor 'time'")
                == true)
    }

    @Test(arguments: [
        "", "validation_loss", "validation_loss <", "< 2", "validation_loss < x", "validation_loss < nan", "a b < 2",
        "best(train_loss) < 2", "min(train_loss < 2", "no", "no loss", "no stall", "no stall soon", "no stall -1s",
        "monotonic", "monotonic a b", "age < soon", "Loss < 2",
    ])
    func aBadExpressionIsAUsageError(_ text: String) {
        do {
            _ = try MetricsCheck(text)
            Issue.record("accepted")
        } catch {
            #expect(error.kind == .usage && error.message.hasPrefix("check \(quoted(text)): expected "))
        }
    }
}
