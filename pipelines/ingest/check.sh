#!/usr/bin/env bash
# Runs every engine here over the same corpus and compares: the same dataset, byte for byte, from each, and the tokens of one
# run of tok-shard alone. An engine that is not on this machine is said and passed over, unless it is named:
#
#   pipelines/ingest/check.sh [parallel|slurm|ray]…
#
# Ray runs by $PYTHON (default: python3). Slurm needs a controller that answers `sinfo`; `start-slurm.sh` beside this starts one.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PATH=$(cd "${MILLRACE_BIN:-$here/../../.build/release}" && pwd):$PATH
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "ingest-check: $*" >&2; exit 1; }

for i in 0 1 2 3 4 5 6; do
    python3 "$here/../grammar.py" --seed "$i" --bytes $((20000 + 3000 * i)) > "$work/text $i.txt"
done
options=(--tokenizer bytes --split-on '' --shard-tokens 20000 "$work"/text*.txt)
tok-shard --output "$work/whole" "${options[@]}"
tok-shard cat "$work/whole" > "$work/tokens"

there() {
    case $1 in
        parallel) command -v parallel > /dev/null ;;
        slurm) command -v sinfo > /dev/null && sinfo --noheader > /dev/null 2>&1 ;;
        ray) "$python" -c 'import ray' 2> /dev/null ;;
        *) fail "no engine '$1'" ;;
    esac
}
ingest() {
    case $1 in
        parallel) "$here/parallel.sh" "$work/parallel" 3 "${options[@]}" ;;
        slurm)
            "$here/slurm.sh" "$work/slurm" 3 "${options[@]}" > "$work/job"
            for ((i = 0; i < 600; i++)); do
                if [ -e "$work/slurm/dataset.json" ] && [ ! -e "$work/slurm.parts" ]; then return; fi
                sleep 0.2
            done
            cat "$work"/slurm*.log >&2
            return 1
            ;;
        ray) "$python" "$here/with_ray.py" "$work/ray" 3 "${options[@]}" > "$work/ray.log" 2>&1 || { cat "$work/ray.log" >&2 && return 1; } ;;
    esac
}

engines=("$@")
[ ${#engines[@]} -gt 0 ] || engines=(parallel slurm ray)
first=
for engine in "${engines[@]}"; do
    if ! there "$engine"; then
        [ $# -eq 0 ] || fail "$engine is not here"
        echo "ingest-check: $engine: not here, not run"
        continue
    fi
    ingest "$engine" || fail "$engine failed"
    [ ! -e "$work/$engine.parts" ] || fail "$engine left its parts"
    tok-shard verify "$work/$engine" > "$work/verified" || fail "$engine made a dataset that does not verify"
    tok-shard cat "$work/$engine" | cmp - "$work/tokens" || fail "$engine made other tokens than one run"
    if [ -n "$first" ]; then
        diff -r "$work/$first" "$work/$engine" || fail "$engine made another dataset than $first"
    fi
    first=${first:-$engine}
    echo "ingest-check: $engine: ok"
done
[ -n "$first" ] || fail "no engine is here"
