#!/usr/bin/env bash
# Small models of every shape we train, fresh and after some steps, read by safetensors and transformers.
# Then the formats that ckpt-tool converts to and from, by the packages that own them (check_convert.py).
# Run by `make interop`, which puts the tools and the virtual environment's python on the PATH. About two minutes.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 "$here/../../pipelines/grammar.py" --bytes 60000 > "$work/stories.txt"
tok-shard --tokenizer bytes --split-on '' --output "$work/data" "$work/stories.txt"
stream() { tok-pack --rows 4 --length 64 --seed 1 --limit 5 "$work/data"; }

# llama NAME hidden intermediate layers heads key-value-heads head-dimension theta tied
llama() {
    cat > "$work/$1.json" << END
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 257, "hidden_size": $2,
 "intermediate_size": $3, "num_hidden_layers": $4, "num_attention_heads": $5, "num_key_value_heads": $6,
 "head_dim": $7, "hidden_act": "silu", "rms_norm_eps": 1e-05, "rope_theta": $8, "max_position_embeddings": 128,
 "initializer_range": 0.05, "attention_bias": false, "mlp_bias": false, "tie_word_embeddings": $9,
 "bos_token_id": 256, "eos_token_id": 256}
END
}
llama tied 64 172 2 4 4 16 10000.0 true
llama untied 64 172 2 4 4 16 10000.0 false
llama grouped 96 256 3 6 2 16 10000.0 true
llama one-key-head 64 128 2 4 1 16 500000.0 false
llama odd 84 222 2 3 3 28 10000.0 true
llama wide-heads 48 96 1 2 1 32 100000.0 false
# change NAME FROM JQ: another model's file with some fields changed
change() { jq "$3" "$work/$2.json" > "$work/$1.json"; }
change biases grouped '.attention_bias = true | .mlp_bias = true'
change qwen2 grouped '.model_type = "qwen2" | .architectures = ["Qwen2ForCausalLM"] | .attention_bias = true'
change qwen3 grouped '.model_type = "qwen3" | .architectures = ["Qwen3ForCausalLM"] | .head_dim = 24'
cat > "$work/gpt2.json" << END
{"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": 257, "n_embd": 64, "n_layer": 3, "n_head": 4,
 "n_inner": null, "n_positions": 128, "initializer_range": 0.05, "activation_function": "gelu_new",
 "layer_norm_epsilon": 1e-05, "bos_token_id": 256, "eos_token_id": 256}
END
change gpt2-untied gpt2 '.tie_word_embeddings = false | .n_inner = 100'

for file in "$work"/*.json; do
    name=$(basename "$file" .json)
    run=$work/run-$name
    stream | train-step --quiet --run "$run" --model "$file" --seed 3 --steps 5 --learning-rate 1e-2 --warmup 1
    train-step --quiet --run "$run-fresh" --model "$file" --seed 3 --steps 0 < /dev/null
    python3 "$here/check_checkpoint.py" "$run-fresh/latest"
    python3 "$here/check_checkpoint.py" "$run/latest"
done

# The comparison can fail: another rotary base and the logits differ.
cp -R "$work/run-tied/latest/." "$work/broken"
python3 - "$work/broken/config.json" << 'END'
import json, sys
with open(sys.argv[1]) as file:
    config = json.load(file)
config["rope_theta"] = 500.0
config.get("rope_parameters", {})["rope_theta"] = 500.0
with open(sys.argv[1], "w") as file:
    json.dump(config, file)
END
mkdir "$work/bin"
cat > "$work/bin/ckpt-tool" << END
#!/usr/bin/env bash
arguments=()
for argument in "\$@"; do arguments+=("\${argument/$(basename "$work")\/broken/$(basename "$work")/run-tied/latest}"); done
exec "$(command -v ckpt-tool)" "\${arguments[@]}"
END
chmod +x "$work/bin/ckpt-tool"
PATH="$work/bin:$PATH" python3 "$here/check_checkpoint.py" --expect-not "$work/broken" > /dev/null
echo "interop: all agree, and a wrong rotary base is noticed"
python3 "$here/check_convert.py"
