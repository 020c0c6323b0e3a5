#!/usr/bin/env bash
# Fuzzes the parsers of foreign files with libFuzzer under the address sanitizer: traps, overflows, reads out of bounds, hangs
# of more than 10 seconds, single allocations over 64 MB and a process over 1 GB are findings.
#
#   Tests/fuzz/run.sh                   FUZZ_SECONDS (60) of each target
#   Tests/fuzz/run.sh stream gguf       these only
#   FUZZ_JOBS=1 Tests/fuzz/run.sh       one at a time (default: as many as there are processors)
#   FUZZ_MERGE=1 Tests/fuzz/run.sh      afterwards keeps some of what reached new code in corpus/: 24 files, 24 kB a target
#
# The library is built with coverage into .build/fuzz, which takes some minutes the first time. An input that breaks a parser
# lands in .build/fuzz/findings; it goes into corpus/TARGET together with the correction, where `make test` replays it.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${FUZZ_SECONDS:-60}
jobs=${FUZZ_JOBS:-$(nproc)}
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    for place in Tests/fuzz/corpus/*/; do targets+=("$(basename "$place")"); done
fi

build=.build/fuzz
began=$SECONDS
mkdir -p "$build/findings" "$build/logs"
# The sanitizers' flags reach Swift by -Xswiftc and C by -Xcc; a static library has all modules in it.
MILLRACE_FUZZ=1 swift build -c release --scratch-path "$build" --product FuzzTargets --sanitize address \
    -Xswiftc -sanitize=fuzzer,address -Xcc -fsanitize=fuzzer-no-link,address > "$build/build.log" 2>&1 || {
    tail -n 30 "$build/build.log" >&2
    exit 1
}
maps=(Sources/Shared/{CZstd,CZlib}/module.modulemap "$build/release/CKernels.build/module.modulemap"
    "$build"/checkouts/swift-{crypto,system}/Sources/*/include/module.modulemap)
flags=()
for map in "${maps[@]}"; do flags+=(-Xcc "-fmodule-map-file=$map"); done
swiftc -O -parse-as-library -sanitize=fuzzer,address -use-ld=lld -I "$build/release/Modules" \
    "${flags[@]}" \
    Tests/fuzz/Fuzz.swift "$build/release/libFuzzTargets.a" -lzstd -lz -lm -o "$build/fuzz"
echo "fuzz: built in $((SECONDS - began)) s"

scratch=$(mktemp -d -p "$([ -w /dev/shm ] && echo /dev/shm || echo /tmp)")
trap 'rm -rf "$scratch"' EXIT
# Leaks are no findings: the Swift runtime keeps metadata for good.
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 build scratch seconds

one() {
    local target=$1 grown="$build/corpus/$1" log="$build/logs/$1" status=0
    mkdir -p "$grown" "$scratch/$target"
    export MILLRACE_FUZZ=$target MILLRACE_FUZZ_DIRECTORY=$scratch/$target
    "$build/fuzz" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=64 -max_len=32768 \
        -artifact_prefix="$build/findings/$target-" -print_final_stats=1 "$grown" "Tests/fuzz/corpus/$target" \
        > "$log" 2>&1 || status=$?
    if [ "$status" -ne 0 ]; then
        grep -aE 'ERROR|Fatal|finding|#[0-9]+ ' "$log" | head -n 25 >&2
        echo "fuzz: $target: a finding: $(grep -ao 'Test unit written to .*' "$log" || echo "see $log")" >&2
        return 1
    fi
    printf '%-14s %9d inputs %6d edges %5d MB peak\n' "$target" \
        "$(awk '/stat::number_of_executed_units/ { print $2 }' "$log")" \
        "$(grep -ao 'cov: [0-9]*' "$log" | tail -n 1 | cut -c 6-)" "$(awk '/stat::peak_rss_mb/ { print $2 }' "$log")"
}
export -f one
status=0
printf '%s\n' "${targets[@]}" | xargs -P "$jobs" -I{} bash -c 'one {}' || status=1

if [ -n "${FUZZ_MERGE:-}" ] && [ "$status" -eq 0 ]; then
    for target in "${targets[@]}"; do
        export MILLRACE_FUZZ=$target MILLRACE_FUZZ_DIRECTORY=$scratch/$target
        merged="$scratch/merged-$target"
        mkdir -p "$merged"
        # What the kept inputs do not reach yet.
        "$build/fuzz" -merge=1 -max_len=2048 "$merged" "Tests/fuzz/corpus/$target" "$build/corpus/$target" \
            > "$build/logs/$target-merge" 2>&1
        kept=0
        every=$((($(find "$merged" -type f | wc -l) + 23) / 24))
        # Small and large ones: the large reach deeper.
        while read -r size path; do
            [ $((kept + size)) -le 24000 ] || break
            # Names of ours are words, libFuzzer's are digests.
            cp "$path" "Tests/fuzz/corpus/$target/$(basename "$path" | cut -c 1-12)"
            kept=$((kept + size))
        done < <(find "$merged" -type f -printf '%s %p\n' | sort -n | awk -v every="$every" 'NR % every == 1 || every == 1')
        echo "$target: $kept bytes kept"
    done
fi
[ "$status" -eq 0 ] && echo "fuzz: nothing found in ${#targets[@]} targets of $seconds s each"
exit "$status"
