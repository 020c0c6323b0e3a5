#!/usr/bin/env bash
# Checks train.mk: a second make does nothing, an interrupted run goes on from its last checkpoint and ends in the same
# bytes as one that was not interrupted, and only what changed is made again. Half a minute; run by .ci/run.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export MILLRACE_BIN=${MILLRACE_BIN:-$(cd "$here/../.build/release" && pwd)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "train-check: $*" >&2; exit 1; }

cat > "$work/model.json" << 'END'
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 257, "hidden_size": 64,
 "intermediate_size": 172, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
 "hidden_act": "silu", "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "max_position_embeddings": 256,
 "initializer_range": 0.02, "attention_bias": false, "mlp_bias": false, "tie_word_embeddings": true}
END
python3 "$here/grammar.py" --bytes 300000 > "$work/corpus.txt"
train() {
    make --no-print-directory -f "$here/train.mk" CORPUS="$work/corpus.txt" RUN="$work/$1" MODEL="$work/model.json" \
        STEPS=40 ROWS=4 LENGTH=256 WARMUP=5 EVAL_EVERY=20 SAVE_EVERY=10 "${@:2}" > "$work/log" 2>&1
}
show_log() { cat "$work/log" >&2; fail "$@"; }

train whole || show_log "the first make failed"
for file in loss.svg report.txt; do [ -s "$work/whole/$file" ] || fail "no $file"; done
before=$(find "$work" -newer "$work/whole/report.txt" -type f ! -name log | sort)
train whole || show_log "the second make failed"
if grep -q 'train-step\|tok-shard\|tok-pack' "$work/log"; then show_log "the second make did something"; fi
[ "$before" = "$(find "$work" -newer "$work/whole/report.txt" -type f ! -name log | sort)" ] ||
    fail "the second make wrote something"

# Interrupt: stop the same training after its checkpoint at step 20, as a killed make would leave it.
train parts STEPS=20 SCHEDULE=40 || show_log "the first part failed"
train parts SCHEDULE=40 || show_log "the second part failed"
grep -q -e '--resume' "$work/log" || show_log "the second part did not resume"
cmp "$work/whole/latest/model.safetensors" "$work/parts/latest/model.safetensors" ||
    fail "a run in two parts ended in other parameters than a run in one"

# A changed model makes a new run and keeps the old one; the dataset stays.
sleep 1
touch "$work/reference"
sed -i.bak 's/"intermediate_size": 172/"intermediate_size": 128/' "$work/model.json"
train whole || show_log "the make after a change of the model failed"
if grep -q '^tok-shard' "$work/log"; then show_log "a change of the model sharded the corpus again"; fi
[ -e "$work/whole.old-1/latest" ] || fail "the former run is gone"
[ "$work/whole/latest/model.safetensors" -nt "$work/reference" ] || fail "a changed model did not train again"
echo "train-check: ok"
