#!/usr/bin/env bash
# Trained models of every family, made larger by every policy, and loaded by transformers before and after.
# Run by `make expansion`, which puts the tools and the virtual environment's python on the PATH. About three minutes.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 "$here/../../pipelines/grammar.py" --bytes 60000 > "$work/stories.txt"
tok-shard --tokenizer bytes --split-on '' --output "$work/data" "$work/stories.txt"
stream() { tok-pack --rows 4 --length 64 --seed 1 --epochs forever "$@" "$work/data"; }

cat > "$work/llama.json" << END
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 257, "hidden_size": 48,
 "intermediate_size": 100, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
 "head_dim": 16, "hidden_act": "silu", "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "max_position_embeddings": 128,
 "initializer_range": 0.05, "attention_bias": true, "mlp_bias": true, "tie_word_embeddings": true,
 "bos_token_id": 256, "eos_token_id": 256}
END
change() { jq "$3" "$work/$2.json" > "$work/$1.json"; }
change llama-untied llama '.tie_word_embeddings = false'
change qwen2 llama '.model_type = "qwen2" | .architectures = ["Qwen2ForCausalLM"] | del(.mlp_bias)'
change qwen3 llama-untied '.model_type = "qwen3" | .architectures = ["Qwen3ForCausalLM"] | .head_dim = 24
    | .attention_bias = false | del(.mlp_bias)'
cat > "$work/gpt2.json" << END
{"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": 257, "n_embd": 64, "n_layer": 2, "n_head": 4,
 "n_inner": 100, "n_positions": 128, "initializer_range": 0.05, "activation_function": "gelu_new",
 "layer_norm_epsilon": 1e-05, "bos_token_id": 256, "eos_token_id": 256}
END

exact=(layers=4 layers=5,where=end intermediate=173 intermediate=300,how=split intermediate=300,how=fresh vocabulary=300
    hidden=2 hidden=3 context=256)
llama=(heads=8 heads=6,key-value-heads=3 heads=16,key-value-heads=4,how=split heads=12,how=fresh)
for file in "$work"/*.json; do
    name=$(basename "$file" .json)
    run=$work/run-$name
    stream --limit 20 | train-step --quiet --run "$run" --model "$file" --seed 3 --steps 20 --learning-rate 1e-2
    width=$(jq '.hidden_size // .n_embd' "$file")
    policies=("${exact[@]}")
    if [ "$name" != gpt2 ]; then policies+=("${llama[@]}"); fi
    outs=()
    for policy in "${policies[@]}"; do
        case $policy in hidden=*) policy=hidden=$((width * ${policy#hidden=})) ;; esac
        outs+=("$work/$name-$policy")
        ckpt-tool expand "$run/latest" --output "$work/$name-$policy" "$policy" > "$work/line"
    done
    # Everything at once, still what it was, and ours agrees with theirs.
    ckpt-tool expand "$run/latest" --output "$work/$name-all" \
        layers=3 intermediate=260 hidden=$((width * 2)) vocabulary=270 context=160 > "$work/line"
    python3 "$here/check_expansion.py" "$run/latest" "${outs[@]}" "$work/$name-all"
    python3 "$here/check_checkpoint.py" "$work/$name-all"
    # Other functions: not the old logits, but the same to us and to transformers.
    scalings=(layers=4,how=stack)
    if [ "$name" = gpt2 ]; then
        scalings+=(context=256,how=interpolate)
    else
        scalings+=(context=512,how=linear context=512,how=ntk context=512,how=yarn context=512,how=llama3)
        ckpt-tool expand "$run/latest" --output "$work/$name-pad" hidden=$((width + 8)),how=fresh > "$work/line"
        python3 "$here/check_expansion.py" "$run/latest" "$work/$name-pad"
    fi
    outs=()
    for policy in "${scalings[@]}"; do
        outs+=("$work/$name-$policy")
        ckpt-tool expand "$run/latest" --output "$work/$name-$policy" "$policy" > "$work/line"
        python3 "$here/check_checkpoint.py" "$work/$name-$policy"
    done
    python3 "$here/check_expansion.py" --expect-not "$run/latest" "${outs[@]}"
done
echo "expansion: all agree"
