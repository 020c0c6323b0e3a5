#!/usr/bin/env bash
# Real English: dictionary glosses, encyclopedia entries and manuals from Debian packages, trained on for a quarter of
# an hour, interrupted in the middle and resumed.
#
# Needs    the five tools (make build), python3, apt-get and dpkg-deb (Debian or Ubuntu; not root) and their network.
# Takes    about 15 minutes of training on two cores, 150 MB of disk.
# Expect   22.6 MB of text in 124,115 documents; 3000 steps of 2048 bytes through 3.0 M parameters, interrupted at about
#          step 1502; then a validation loss of 1.469 nats a byte (perplexity 4.35), measured 2026-11-24 on two Zen 4
#          cores that others used too: 427 s for the first half, 874 s for the second.
#
# The texts are wordnet-base (WordNet's glosses), dict-foldoc (the Free On-line Dictionary of Computing) and perl-doc
# (Perl's manual); their licences stand in the packages' `copyright` files. Nothing of them is kept in this project.
#
#   pipelines/debian-prose.sh                  output under ./out/prose
#   OUT=… STEPS=… MILLRACE_BIN=…               as in demo.sh
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${OUT:-out/prose}
bin=${MILLRACE_BIN:-$here/../.build/release}
steps=${STEPS:-3000}
batch=(--rows 8 --length 256 --pack best-fit)
packages=(wordnet-base dict-foldoc perl-doc)

for tool in "$bin/train-step" apt-get dpkg-deb python3; do
    if ! command -v "$tool" > /dev/null; then
        echo "debian-prose: no '$tool' here" >&2
        exit 66
    fi
done
PATH=$(cd "$bin" && pwd):$PATH
began=$SECONDS
stage() { printf 'debian-prose: %4d s  %s\n' $((SECONDS - began)) "$*" >&2; }

mkdir -p "$out/packages"
rm -rf "$out/data" "$out/run" "$out/root" "$out/validation.batches" "$out/loss.svg"

stage "fetching ${packages[*]}"
for package in "${packages[@]}"; do
    if ! compgen -G "$out/packages/${package}_*.deb" > /dev/null; then
        (cd "$out/packages" && apt-get download -q "$package" > apt.log 2>&1) || {
            cat "$out/packages/apt.log" >&2
            echo "debian-prose: could not download '$package'" >&2
            echo "hint: 'apt-get update' as root renews the list of packages" >&2
            exit 66
        }
    fi
done
for file in "$out"/packages/*.deb; do dpkg-deb -x "$file" "$out/root"; done

stage "cleaning"
python3 "$here/debian_prose.py" "$out/root" > "$out/prose.jsonl"
rm -rf "$out/root"

stage "sharding"
tok-shard --tokenizer bytes --format jsonl --validation 0.01 --output "$out/data" "$out/prose.jsonl"
tok-pack "${batch[@]}" --order sequential --limit 64 "$out/data/validation" > "$out/validation.batches"

# Everything after the first checkpoint is this: the stream from the cursor of the last batch that was applied, into the
# run. `set -m` is off, so $! is train-step, the last of the pipe.
stream() { tok-pack "${batch[@]}" --seed 1 --epochs 0 "$@" "$out/data/train"; }

every=$((steps / 10))
stage "training $steps steps, with an interrupt in the middle"
stream | train-step --run "$out/run" --model "$here/models/prose.json" --seed 1 --steps "$steps" \
    --learning-rate 2e-3 --warmup 100 --weight-decay 0.1 --clip 1 \
    --validation "$out/validation.batches" --eval-every "$every" --save-every "$every" &
trainer=$!
trap 'kill -TERM "$trainer" 2> /dev/null || true' EXIT
middle=$(printf 'step-%08d' $((every * 5)))
while kill -0 "$trainer" 2> /dev/null && [ ! -e "$out/run/$middle" ]; do sleep 1; done
kill -TERM "$trainer"
status=0
wait "$trainer" || status=$?
trap - EXIT
stage "train-step was interrupted and answered $status at step $(ckpt-tool get "$out/run/latest" step)"
if [ "$status" -ne 75 ]; then
    echo "debian-prose: expected exit code 75 (interrupted after saving), got $status" >&2
    exit 1
fi

stage "resuming"
stream --cursor "$(ckpt-tool get "$out/run/latest" cursor)" | train-step --resume "$out/run" --steps "$steps"

stage "evaluating"
ckpt-tool evaluate "$out/run/latest" < "$out/validation.batches"
metrics-cat --to svg --select train_loss --select validation_loss --output "$out/loss.svg" "$out/run"
for prompt in 'garden: ' 'file system' 'To sort an array'; do
    echo
    ckpt-tool sample "$out/run/latest" --prompt "$prompt" --seed 1 --temperature 0.8 --top-p 0.95
done
echo
echo "debian-prose: plot=$out/loss.svg"
stage "done"
