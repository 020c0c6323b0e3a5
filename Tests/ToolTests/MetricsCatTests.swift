// metrics-cat from outside: golden outputs, and what happens when input or output is bad. Goldens stand in
// Tests/Golden/metrics-cat; MILLRACE_UPDATE_GOLDENS=1 writes them anew, to be read by diff.

import Bytes
import Foundation
import SystemPackage
import TestSupport
import Testing

/// The repository's Tests directory.
private let tests = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().path

/// Runs a script in `directory`; `$TMP` is a directory of its own.
private func bash(_ script: String, in directory: String) throws -> ToolResult {
    try withTemporaryDirectory { scratch in
        try runShell("set +o pipefail; unset COLUMNS\n" + script, environment: ["TMP": scratch], directory: directory)
    }
}

private let golden = tests + "/Golden/metrics-cat"

@Suite struct MetricsCatTests {
    @Test(arguments: [
        ("table", "metrics-cat run1"),
        ("table-narrow", "COLUMNS=60 metrics-cat run1"),
        ("table-two", "metrics-cat run1 run2/metrics.jsonl"),
        ("table-stdin", "cat run2/metrics.jsonl | metrics-cat --select 'step*' '*loss' -"),
        ("csv", "metrics-cat --to csv run1"),
        ("csv-two", "metrics-cat --to csv --select '*_loss' --select note run1 run2"),
        ("svg", "metrics-cat --to svg --reference '1.42:entropy <&>' --title 'A \"plot\"' run1"),
        ("svg-units", "metrics-cat --to svg --select '*_loss' gradient_norm learning_rate run1 run2"),
        ("tsv", "metrics-cat --to tsv --every 8 --select '*_loss' run1"),
        ("json", "metrics-cat --to json --select '*_loss' run1"),
        ("plot", "metrics-cat --plot run1 run2"),
        ("summary", "metrics-cat --summary run1 run2"),
        ("compare", "metrics-cat --compare run1 run2"),
        ("prometheus", "metrics-cat --to prometheus run1 run2"),
        ("openmetrics", "metrics-cat --to openmetrics --select '*_loss' --select tokens run1"),
        ("vega", "metrics-cat --to vega --select validation_loss --reference 1.42:bound run1 run2"),
        ("check", "metrics-cat --check 'validation_loss < 2.1' 'no stall 60s' 'monotonic step' run1"),
        ("svg-two", "metrics-cat --to svg --x tokens --log-y --smooth 4 run1 run2"),
    ])
    func matchesItsGolden(_ name: String, _ command: String) throws {
        let outcome = try bash(command, in: golden)
        #expect(outcome.status == 0)
        let found = outcome.text + (outcome.errors.isEmpty ? "" : "--- standard error\n" + outcome.errors)
        let path = FilePath("\(golden)/\(name).out")
        if Host.environment("MILLRACE_UPDATE_GOLDENS") == "1" {
            try AtomicFile.write(Array(found.utf8), to: path)
        }
        let expected = String(decoding: try InputFile(path).readAll(limit: 1 << 24), as: UTF8.self)
        #expect(found == expected, "\(name).out differs; MILLRACE_UPDATE_GOLDENS=1 rewrites it")
    }

    @Test func outputIsWrittenWholeOrNotAtAll() throws {
        let outcome = try bash(
            """
            metrics-cat --to csv run1 > "$TMP/a.csv"
            metrics-cat --to csv --output "$TMP/b.csv" run1 && cmp "$TMP/a.csv" "$TMP/b.csv" && echo same
            metrics-cat --to svg --select note --output "$TMP/c.svg" run1; echo $?; ls "$TMP"
            """, in: golden)
        #expect(outcome.text == "same\n65\na.csv\nb.csv\n")
        #expect(outcome.errors == "metrics-cat: no points to plot in 'run1'\n")
    }

    @Test func standardInputIsReadTwice() throws {
        let outcome = try bash(
            """
            metrics-cat --to csv run1 > "$TMP/a.csv"
            cat run1/metrics.jsonl | metrics-cat --to csv | cmp - "$TMP/a.csv" && echo same
            metrics-cat --to csv <(cat run1/metrics.jsonl) | cmp - "$TMP/a.csv" && echo same
            # More than is kept in memory goes into a file without a name.
            for step in {1..300000}; do echo '{"step":'$step',"note":"01234567890123456789012345678901234567890123456789"}'; done > "$TMP/big.jsonl"
            metrics-cat --to csv "$TMP/big.jsonl" > "$TMP/b.csv"
            TMPDIR=$TMP metrics-cat --to csv < "$TMP/big.jsonl" | cmp - "$TMP/b.csv" && echo same
            ls "$TMP"
            """, in: golden)
        #expect(outcome.text == "same\nsame\nsame\na.csv\nb.csv\nbig.jsonl\n")
    }

    @Test func eventFilesOfSeveralRunsStandSideBySide() throws {
        let outcome = try bash(
            """
            metrics-cat --to tensorboard --output "$TMP/logs" run1 run2; ls "$TMP/logs"
            metrics-cat --select '*_loss' run2 > "$TMP/a"
            metrics-cat --select '*_loss' "$TMP/logs/run2" | cmp - "$TMP/a" && echo same
            metrics-cat --compare --x step run1 "$TMP/logs/run1" | grep -c ' 0.0000$'
            """, in: golden)
        #expect(outcome.text.hasPrefix("run1\nrun2\nsame\n") && outcome.status == 0, "\(outcome)")
    }

    @Test func aRunIsFollowed() throws {
        let outcome = try bash(
            """
            cd "$TMP"; mkdir run
            echo '{"step":1,"train_loss":2.5}' > run/metrics.jsonl
            timeout -s INT 4 metrics-cat --follow run > out & child=$!
            for step in 2 3 4; do sleep 0.7; echo '{"step":'$step',"train_loss":2.'$step'}' >> run/metrics.jsonl; done
            wait $child; echo $?; cat out
            """, in: golden)
        #expect(
            outcome.text.contains("step=1  train_loss=2.5000\nstep=2  train_loss=2.2000\nstep=3  train_loss=2.3000\n"),
            "\(outcome)")
    }

    @Test func aClosedReaderIsNoError() throws {
        let outcome = try bash(
            """
            set -o pipefail
            for step in {1..20000}; do echo '{"step":'$step',"train_loss":2.5}'; done > "$TMP/big.jsonl"
            metrics-cat --to csv "$TMP/big.jsonl" | head -1; echo $?
            metrics-cat --all "$TMP/big.jsonl" | head -1; echo $?
            """, in: golden)
        #expect(outcome.text == "step,train_loss\r\n0\n step  train_loss\n0\n")
        #expect(outcome.errors.isEmpty)
    }

    @Test(arguments: ["table", "csv", "tsv", "json", "prometheus", "openmetrics", "svg", "html", "vega"])
    func aFullDeviceIsAnError(_ format: String) throws {
        let outcome = try bash("metrics-cat --to \(format) run1 > /dev/full; echo $?", in: golden)
        #expect(outcome.text == "74\n")
        #expect(outcome.errors == "metrics-cat: cannot write 'standard output': No space left on device\n")
    }

    @Test(arguments: [
        ("metrics-cat missing", 66, "metrics-cat: cannot open 'missing': No such file or directory\n"),
        (
            "metrics-cat --select '*_loss' missing", 66,
            "metrics-cat: cannot open 'missing': No such file or directory\n"
        ),
        (
            "mkdir $TMP/run; cd $TMP; metrics-cat run", 66,
            "metrics-cat: cannot open 'run/metrics.jsonl': No such file or directory\n"
        ),
        ("metrics-cat --to pdf run1", 64, "metrics-cat: "),
        (
            "metrics-cat --smooth 0 run1", 64,
            "metrics-cat: expected '--smooth' to be a weight under 1 or a span of 1 or more, found '0'\n"
        ),
        ("metrics-cat --every 0 run1", 64, "metrics-cat: expected '--every' to be 1 or more, found 0\n"),
        (
            "metrics-cat --to tensorboard run1", 64,
            "metrics-cat: expected '--output' with a directory for '--to tensorboard'\n"
        ),
        ("metrics-cat --plot --to csv run1", 64, "metrics-cat: expected one of '--to', '--plot', "),
        ("metrics-cat --follow < run1/metrics.jsonl", 64, "metrics-cat: cannot follow standard input\n"),
        ("metrics-cat --check 'loss' run1", 64, "metrics-cat: check 'loss': expected "),
        (
            "metrics-cat --check 'validation_loss < 9' 'no nonfinite' run1", 1,
            "metrics-cat: 'run1': 'no nonfinite' does not hold: 'train_loss' is nan at step 30, line 32\n"
        ),
        ("metrics-cat --check 'step < 0' 'no stall 1s' run1", 1, "metrics-cat: 'run1': 'step < 0' does not hold: "),
        ("metrics-cat - -", 64, "metrics-cat: standard input can be read once\n"),
        ("metrics-cat --reference nan run1", 64, "metrics-cat: "),
        (
            "metrics-cat --select loss run1", 64,
            "metrics-cat: no metric matches 'loss'\nhint: the runs have gradient_norm, "
        ),
        (
            "metrics-cat --output /dev/null run1", 73,
            "metrics-cat: cannot create '/dev/null': something that is no regular file"
        ),
        ("metrics-cat --to svg --x seconds run2", 65, "metrics-cat: 'run2' has no 'seconds' to plot over\n"),
        (
            #"printf '{"step":1}\n{"step":2,\n{"step":3}\n' | metrics-cat"#, 65,
            "metrics-cat: 'standard input', line 2, at byte 21: expected a key in quotes\n"
        ),
        (
            "head -c 3000000 /dev/zero | metrics-cat -", 65,
            "metrics-cat: 'standard input', line 1, at byte 0: longer than 1048576 bytes\n"
        ),
        (
            "printf '\\0\\n' | metrics-cat", 65,
            "metrics-cat: 'standard input', line 1, at byte 0: expected a JSON value, found byte 0x0\n"
        ),
    ])
    func badInputIsOneLineAndACode(_ command: String, _ status: Int, _ message: String) throws {
        let outcome = try bash(command, in: golden)
        #expect(Int(outcome.status) == status)
        #expect(outcome.errors.hasPrefix(message), "\(outcome.errors)")
        #expect(outcome.output.isEmpty)
    }

    @Test func aRunThatIsBeingWrittenIsReadWithANote() throws {
        let outcome = try bash(#"printf '{"step":1,"train_loss":2.5}\n{"step":2,"tra' | metrics-cat"#, in: golden)
        #expect(outcome.status == 0)
        #expect(outcome.text == "step  train_loss\n   1      2.5000\n")
        #expect(outcome.errors == "note: 'standard input', line 2, is not finished and left out\n")
    }

    @Test func anEmptyRunIsAnEmptyTable() throws {
        let outcome = try bash("metrics-cat < /dev/null; metrics-cat --to csv < /dev/null", in: golden)
        #expect(outcome.status == 0 && outcome.text == "step\nstep\r\n" && outcome.errors.isEmpty)
    }

    @Test func metricsCannotDriveATerminal() throws {
        let outcome = try bash(
            #"""
            cd "$TMP"; name=$'\e[2J.jsonl'; printf '{"step":1,"note":"\\u001b]0;x\\u0007\\u009b"}\n' > "$name"
            for format in table csv tsv json prometheus; do metrics-cat --to $format "$name"; metrics-cat --to $format --select note "$name" "$name"; done
            metrics-cat --to svg "$name"; metrics-cat --summary "$name"; printf '{"step"}\n' > "$name"; metrics-cat "$name"
            """#, in: golden)
        let everything = outcome.text + outcome.errors
        #expect(everything.contains(#"\u{1b}]0;x\u{7}\u{9b}"#) && everything.contains(#"\u{1b}[2J"#))
        #expect(
            everything.unicodeScalars.allSatisfy {
                $0.value >= 0x20 && !(0x7f..<0xa0).contains($0.value) || $0 == "\n" || $0 == "\r" || $0 == "\t"
            })
    }

    @Test func theExampleInTheHelpIsThere() throws {
        let outcome = try bash("metrics-cat --help", in: golden)
        #expect(outcome.status == 0 && outcome.text.contains("Example: metrics-cat --to svg"))
    }
}
