// What the fault tests share: a tiny corpus, model and undisturbed run (those of the laws), and shell functions that go
// on with a run as a person would, check that nothing torn is left, and put a failing call at one exact place (strace(1)).

import Bytes
import SystemPackage
import TestSupport
import Testing

enum Faults {
    /// `make faults` sets this: more moments, every call instead of a sample.
    static let isLong = Host.environment("MILLRACE_LONG") == "1"

    static func count(quick: Int, long: Int) -> Int { isLong ? long : quick }

    static let functions = #"""
        fail() { echo "FAILED: $*"; exit 1; }
        options="--save-every 2"

        # Begins the run or goes on with it, whatever state a fault left it in.
        begun() { ls run 2> /dev/null | grep -q '^step-[0-9]*$'; }
        feed() { if begun; then pack --cursor "$(ckpt-tool get run/latest cursor)"; else pack; fi; }
        target() { if begun; then echo --resume run; else echo --run run --model model.json; fi; }
        go_on() { feed | learn $(target) --steps 20 $options; }

        # A checkpoint that can be seen is whole.
        sound() {
            ! begun || ckpt-tool verify run > said 2>&1 || fail "verify: $(cat said)"
            ! begun || [ ! -s said ] || fail "verify said: $(cat said)"
        }

        # Nothing unpublished is left once the run has been opened again.
        tidy() { stray=$(find "$1" -name '*.tmp' -o -name '*.next' -o -name '*.previous'); [ -z "$stray" ] || fail "left: $stray"; }

        complete() { go_on || fail "cannot go on: $?"; sound; same run || fail "other bytes"; tidy run; }

        # One line (and at most a hint) that begins with the tool's name: said TOOL FILE
        one_line() {
            [ "$(grep -vc '^hint: ' "$2")" = 1 ] || fail "expected one line: $(cat "$2")"
            grep -v '^hint: ' "$2" | grep -q "^$1: [^ ]" || fail "no name: $(cat "$2")"
            ! grep -q 'Fatal error\|unexpected error' "$2" || fail "$(cat "$2")"
        }

        # The calls of `work` that touch the target (opening to read does not change it), as 'NAME K', K counted from its first call of that name:
        # places PATTERN CALLS (strace's list)
        places() {
            reset
            strace -f -y -qq -o calls -e trace="$2" bash -c 'exec "$@"' - "${work[@]}" < input > /dev/null 2> said || return 1
            # The K of a call is per thread, as strace counts. A call that another thread's interrupts has a second line: its end.
            awk -v pattern="$1" '$2 == "<..." { next } { name = $2; sub(/\(.*/, "", name); k = ++seen[$1, name] }
                $0 ~ pattern && !/O_RDONLY/ && !once[name, k]++ { print name, k }' calls
        }

        # Runs `work` from a reset target with a fault at one call; the status is in $status and the proof in `calls`.
        inject() {  # inject NAME K FAULT
            reset
            status=0
            strace -f -y -qq -o calls -e trace="$1" -e inject="$1:$3:when=$2" bash -c 'exec "$@"' - "${work[@]}" \
                < input > out 2> said || status=$?
        }

        # The K-th call of the first thread that gets there may be the loader's (the tool did not begin), or that of the
        # message, which fails too: such a fault says nothing about the target.
        elsewhere() {  # elsewhere PATTERN
            [ $status != 0 ] && { ! grep -Eq "$1" calls || grep -q 'write(2<.*INJECTED' calls; }
        }
        """#

    /// In memory where there is a place for it: a thousand checkpoints would wait for the disk otherwise. What a real
    /// disk would lose is what the injected failures are about.
    private static let place = """
        if [ -d /dev/shm ] && [ -w /dev/shm ]; then
            memory=$(mktemp -d /dev/shm/millrace-XXXXXX); trap 'rm -rf "$memory"' EXIT; cd "$memory"
        fi
        """

    /// - Parameter prepare: fills a directory that the script knows as `$given`.
    static func expect(_ script: String, prepare: (String) throws -> Void = { _ in }) throws {
        try withTemporaryDirectory { directory in
            let given = directory + "/given"
            try FileSystem.makeDirectory(FilePath(given))
            try prepare(given)
            let result = try runShell(
                "\(place)\n\(LawTests.setUp)\n\(functions)\nset -e\n\(script)", environment: ["given": given],
                directory: directory)
            #expect(
                result.status == 0, "status \(result.status): \(result.text.suffix(3000))\(result.errors.suffix(3000))")
        }
    }
}
