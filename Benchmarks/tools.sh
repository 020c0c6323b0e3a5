#!/usr/bin/env bash
# Whole tools, each beside a rival or the machine's own peak, measured in the same run, interleaved; medians of several.
# Prints a table; gates nothing (a shared machine cannot be a gate). Needs: a release build, zstd, awk; about 3 minutes.
#   Benchmarks/tools.sh [RUNS]
# shellcheck disable=SC2016  # the quoted scripts expand their own arguments
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-5}
bin=${MILLRACE_BIN:-$PWD/.build/release}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

median() { sort -g | awk '{ v[NR] = $1 } END { print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
# seconds COMMAND…: wall time of one run, in seconds
seconds() {
    local start end
    start=$(date +%s%N)
    "$@" > "$work/out" 2> "$work/err" || { cat "$work/err" >&2; exit 1; }
    end=$(date +%s%N)
    awk -v n=$((end - start)) 'BEGIN { printf "%.4f\n", n / 1e9 }'
}
row() { printf '%-44s %12s   %s\n' "$1" "$2" "$3"; }

python3 pipelines/grammar.py --bytes 10000000 --seed 7 > "$work/part.txt"
for _ in $(seq 20); do cat "$work/part.txt"; done > "$work/text.txt"
megabytes=$(awk -v b="$(stat -c %s "$work/text.txt")" 'BEGIN { print b / 1e6 }')

row "what" "median" "beside it"
for _ in $(seq "$runs"); do
    rm -rf "$work/one"
    seconds "$bin/tok-shard" --tokenizer bytes --split-on '' --level 1 --threads 1 --output "$work/one" "$work/text.txt" >> "$work/shard"
    # The rival: zstd alone, one thread, level 1, over the same ids (two bytes a token), as one stream.
    [ -s "$work/ids" ] || for s in "$work"/one/shard-*.tok.zst; do zstd -dc "$s"; done > "$work/ids"
    seconds zstd -q -1 -T1 -f "$work/ids" -o "$work/ids.zst" >> "$work/zstd"
done
row "tok-shard bytes, level 1, 1 thread, MB/s of text" \
    "$(median < "$work/shard" | awk -v m="$megabytes" '{ printf "%.0f", m / $1 }')" \
    "zstd -1 -T1 over the same ids: $(median < "$work/zstd" | awk -v m="$megabytes" '{ printf "%.0f", m / $1 }')"

tokens=$("$bin/tok-shard" info --json "$work/one" | grep -o '"tokens": *[0-9]*' | head -1 | grep -o '[0-9]*')
for _ in $(seq "$runs"); do
    seconds sh -c '"$0" --rows 16 --length 2048 --seed 1 --threads 2 "$1" > /dev/null' "$bin/tok-pack" "$work/one" >> "$work/pack"
    seconds sh -c '"$0" --rows 16 --length 2048 --seed 1 --threads 2 --pack concat "$1" > /dev/null' "$bin/tok-pack" "$work/one" >> "$work/concat"
    seconds sh -c 'for s in "$0"/shard-*.tok.zst; do zstd -dc "$s"; done > /dev/null' "$work/one" >> "$work/zstdcat"
done
rate() { median < "$1" | awk -v t="$tokens" '{ printf "%.0f", t / $1 / 1e6 }'; }
row "tok-pack window, concat, 2 threads, Mtokens/s" "$(rate "$work/concat")" "zstd -dc of the shards, 1 thread: $(rate "$work/zstdcat")"
row "tok-pack window, best-fit, 2 threads, Mtokens/s" "$(rate "$work/pack")" ""
/usr/bin/env time -f %M -o "$work/rss" "$bin/tok-pack" --rows 16 --length 2048 --seed 1 --threads 2 --pack concat "$work/one" > /dev/null
row "tok-pack window, concat, peak memory, MB" "$(tail -1 "$work/rss" | awk '{ printf "%.0f", $1 / 1024 }')" ""

# 6 layers, 384 wide, 16 × 256 tokens. FLOP a token = 6 · matrix parameters + 12 · L · T · C.
"$bin/tok-pack" --rows 16 --length 256 --seed 1 --limit 12 "$work/one" > "$work/batches"
flop=$(awk 'BEGIN { L = 6; C = 384; I = 1024; T = 256; V = 512; print 6 * (L * (4 * C * C + 3 * C * I) + V * C) + 12 * L * T * C }')
for run in $(seq "$runs"); do
    Benchmarks/kernels.sh --peak >> "$work/peak"
    "$bin/train-step" --run "$work/run$run" --model pipelines/models/bench-6x384.json --steps 12 --save-every 0 \
        < "$work/batches" 2> "$work/err" || { cat "$work/err" >&2; exit 1; }
    # The first steps warm caches and pages: leave two out.
    "$bin/metrics-cat" --to csv --select tokens_per_second "$work/run$run" | awk -F, 'NR > 3 { print $2 }' | median >> "$work/step"
done
speed=$(median < "$work/step")
peak=$(median < "$work/peak")
row "train-step 6 x 384, 16 x 256, tokens/s" "$(printf '%.0f' "$speed")" \
    "$(awk -v s="$speed" -v f="$flop" -v p="$peak" 'BEGIN { printf "%.0f GFLOP/s, %.0f %% of the measured FMA peak %.0f", s * f / 1e9, 100 * s * f / 1e9 / p, p }')"
