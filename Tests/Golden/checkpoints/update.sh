#!/usr/bin/env bash
# Writes the golden checkpoint of the version under development anew: update.sh [FOLDER OF THE TOOLS]
set -euo pipefail
[ $# -eq 0 ] || set -- "$(realpath "$1")"
cd "$(dirname "$0")"
tools=${1:-../../../.build/release}
run=$(mktemp -d)
trap 'rm -rf "$run"' EXIT
"$tools/train-step" --quiet --run "$run" --model model.json --seed 7 --schedule-steps 6 --steps 4 \
    --validation validation.batches --eval-every 2 --save-every 2 < stream.batches
version=$("$tools/ckpt-tool" get "$run" version)
rm -rf "v$version"
cp -r "$run/step-00000004" "v$version"
