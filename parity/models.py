"""Small models of every family, made here: a Hugging Face config.json and parameters that hide nothing.

The usual initial values hide bugs: norms of exactly 1 and biases of exactly 0 look alike in the right and the wrong
place. So most cases begin from a directory written by this file, where every tensor is random: norm weights around 1,
biases and matrices around 0. It is a foreign directory to `train-step --from`: safetensors, no manifest.
"""

import json
import os

import numpy
from safetensors.numpy import save_file


def configuration(
    family, *, V, C, L, H, KV=None, d=None, I=None, tied=True, positions=128, theta=10000.0, epsilon=1e-5,  # noqa: E741
    attention_bias=False, mlp_bias=False, initializer_range=0.02,
):  # fmt: skip
    """A config.json; letters as in fixture.Shape."""
    common = {
        "vocab_size": V, "initializer_range": initializer_range, "tie_word_embeddings": tied,
        "bos_token_id": None, "eos_token_id": None,
    }  # fmt: skip
    if family == "gpt2":
        return common | {
            "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_embd": C, "n_layer": L, "n_head": H,
            "n_inner": I, "n_positions": positions, "activation_function": "gelu_new", "layer_norm_epsilon": epsilon,
            "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
        }  # fmt: skip
    architecture = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}[family]
    config = common | {
        "architectures": [architecture], "model_type": family, "hidden_size": C, "intermediate_size": I or 4 * C,
        "num_hidden_layers": L, "num_attention_heads": H, "num_key_value_heads": KV or H, "head_dim": d or C // H,
        "hidden_act": "silu", "rms_norm_eps": epsilon, "max_position_embeddings": positions,
        "rope_theta": theta, "rope_parameters": {"rope_theta": theta, "rope_type": "default"},
    }  # fmt: skip
    if family == "llama":
        config |= {"attention_bias": attention_bias, "mlp_bias": mlp_bias}
    if family == "qwen3":
        config |= {"attention_bias": False}
    return config


def shapes(config):
    """Every parameter's shape, by its Hugging Face name."""
    result = {}
    if config["model_type"] == "gpt2":
        C, inner = config["n_embd"], config["n_inner"] or 4 * config["n_embd"]
        result["transformer.wte.weight"] = (config["vocab_size"], C)
        result["transformer.wpe.weight"] = (config["n_positions"], C)

        def put(name, *shape):
            result[f"transformer.{name}.weight"] = shape
            result[f"transformer.{name}.bias"] = shape[-1:]

        for layer in range(config["n_layer"]):
            put(f"h.{layer}.ln_1", C)
            put(f"h.{layer}.attn.c_attn", C, 3 * C)
            put(f"h.{layer}.attn.c_proj", C, C)
            put(f"h.{layer}.ln_2", C)
            put(f"h.{layer}.mlp.c_fc", C, inner)
            put(f"h.{layer}.mlp.c_proj", inner, C)
        put("ln_f", C)
    else:
        C, inner, d = config["hidden_size"], config["intermediate_size"], config["head_dim"]
        q, kv = config["num_attention_heads"] * d, config["num_key_value_heads"] * d
        biased = config.get("attention_bias", False)
        qkv_biased = biased or config["model_type"] == "qwen2"
        result["model.embed_tokens.weight"] = (config["vocab_size"], C)

        def put(name, has_bias, *shape):
            result[f"model.{name}.weight"] = shape
            if has_bias:
                result[f"model.{name}.bias"] = shape[:1]

        for layer in range(config["num_hidden_layers"]):
            prefix = f"layers.{layer}"
            put(f"{prefix}.input_layernorm", False, C)
            put(f"{prefix}.self_attn.q_proj", qkv_biased, q, C)
            put(f"{prefix}.self_attn.k_proj", qkv_biased, kv, C)
            put(f"{prefix}.self_attn.v_proj", qkv_biased, kv, C)
            put(f"{prefix}.self_attn.o_proj", biased, C, q)
            if config["model_type"] == "qwen3":
                put(f"{prefix}.self_attn.q_norm", False, d)
                put(f"{prefix}.self_attn.k_norm", False, d)
            put(f"{prefix}.post_attention_layernorm", False, C)
            mlp_biased = config.get("mlp_bias", False)
            put(f"{prefix}.mlp.gate_proj", mlp_biased, inner, C)
            put(f"{prefix}.mlp.up_proj", mlp_biased, inner, C)
            put(f"{prefix}.mlp.down_proj", mlp_biased, C, inner)
        put("norm", False, C)
    if not config["tie_word_embeddings"]:
        result["lm_head.weight"] = (config["vocab_size"], C)
    return result


# Ends of the names of matrices that write into the residual stream.
BRANCHES = ("o_proj.weight", "down_proj.weight", "c_proj.weight")


def random_parameters(config, seed, branches=1.0):
    """Random in every tensor; matrices are scaled so that activations keep their size, which makes losses and gradients
    like those of a model in training and not of one at its beginning. `branches` is a factor of the matrices that write
    into the residual stream."""
    random = numpy.random.default_rng(seed)
    result = {}
    for name, shape in shapes(config).items():
        values = random.standard_normal(shape)
        if "norm" in name or ".ln_" in name:
            values = 1 + 0.2 * values if name.endswith("weight") else 0.1 * values
        elif name.endswith("bias"):
            values *= 0.05
        elif any(part in name for part in ("embed", "wte", "wpe", "lm_head")):
            values *= 0.05
        else:
            # GPT-2's query biases have gradients that nearly cancel unless attention is a little sharper.
            inputs = shape[0] if config["model_type"] == "gpt2" else shape[1]
            values *= (0.85 if "c_attn" in name else 0.7) / numpy.sqrt(inputs)
        if name.endswith(BRANCHES):
            values *= branches
        result[name] = values.astype(numpy.float32)
    return result


def write_directory(path, config, parameters, prefix=True):
    """A model directory as another program would leave it. `prefix=False` writes GPT-2's names as its first release
    had them, without `transformer.`."""
    os.makedirs(path)
    with open(os.path.join(path, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file, indent=1)
    if not prefix:
        parameters = {name.removeprefix("transformer."): array for name, array in parameters.items()}
    save_file(parameters, os.path.join(path, "model.safetensors"), metadata={"format": "pt"})
