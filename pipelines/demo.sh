#!/usr/bin/env bash
# A small language model from nothing, on a corpus whose best possible loss is known.
#
# Needs    the five tools (make build) and python3; no network.
# Takes    about four minutes on two cores, 40 MB of disk, 200 MB of memory.
# Expect   a validation loss within 10 % of the entropy bound, both printed in the last line, in nats a token.
#
# The corpus is 10 MB of little stories from a probabilistic grammar (grammar.py); the entropy of that grammar is
# computed exactly, and no model can do better on average. What is left above it is what the model has not learned yet.
#
#   pipelines/demo.sh                          output under ./out/demo
#   OUT=/tmp/demo STEPS=100 pipelines/demo.sh  elsewhere, and shorter
#   MILLRACE_BIN=DIR                           use the tools in DIR instead of .build/release
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${OUT:-out/demo}
bin=${MILLRACE_BIN:-$here/../.build/release}
bytes=${BYTES:-10000000}
steps=${STEPS:-2000}
rows=2 length=512
batch=(--rows "$rows" --length "$length" --pack best-fit)

if [ ! -x "$bin/train-step" ]; then
    echo "demo: no tools in '$bin'; run 'make build' first or set MILLRACE_BIN" >&2
    exit 66
fi
PATH=$(cd "$bin" && pwd):$PATH
began=$SECONDS
stage() { printf 'demo: %3d s  %s\n' $((SECONDS - began)) "$*" >&2; }

mkdir -p "$out"
rm -rf "$out/data" "$out/run" "$out/validation.batches" "$out/loss.svg"

stage "writing $bytes bytes of stories from the grammar"
python3 "$here/grammar.py" --bytes "$bytes" --seed 1 --output "$out/stories.txt"
bound=$(python3 "$here/grammar.py" --entropy | jq .entropy_bound)

stage "stories to a dataset, one in a hundred for validation"
tok-shard --tokenizer bytes --split-on '' --validation 0.01 --output "$out/data" "$out/stories.txt"
tok-pack "${batch[@]}" --order sequential "$out/data/validation" > "$out/validation.batches"

stage "training $steps steps of $((rows * length)) tokens"
tok-pack "${batch[@]}" --seed 1 --limit "$steps" "$out/data/train" |
    train-step --run "$out/run" --model "$here/models/demo.json" --seed 1 --steps "$steps" \
        --learning-rate 3e-3 --minimum-learning-rate 3e-5 --warmup $((steps / 30)) \
        --validation "$out/validation.batches" --eval-every $((steps / 5)) --save-every $((steps / 2))

stage "evaluating on stories the model has not seen"
loss=$(ckpt-tool evaluate "$out/run/latest" < "$out/validation.batches" | cut -f 1)

stage "plotting"
metrics-cat --to svg --select train_loss --select validation_loss --reference "$bound:entropy bound" \
    --output "$out/loss.svg" "$out/run"

stage "sampling"
ckpt-tool sample "$out/run/latest" --prompt 'Clara' --seed 1
printf 'demo: validation_loss=%.4f entropy_bound=%.4f plot=%s\n' "$loss" "$bound" "$out/loss.svg"
