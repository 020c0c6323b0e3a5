#!/usr/bin/env python3
"""Do others read what `ckpt-tool convert` writes, and does it read what others write?

    check_convert.py [--keep DIRECTORY]

Small models of every family, made by transformers; each is converted to Hugging Face in parts and other types, GGUF, npz and
llm.c, read there by transformers, the gguf package and numpy, and converted back; files that those wrote are read. Also
averages, statistics and differences against numpy. `ckpt-tool` must be on the PATH. Prints a line a check; exits 1 at the
first one that fails.
"""

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import zipfile

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TQDM_DISABLE"] = "1"

import gguf
import numpy
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM, GPT2Config, LlamaConfig, PreTrainedTokenizerFast, Qwen2Config, Qwen3Config,
)
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.utils import logging

logging.disable_progress_bar()
logging.set_verbosity_error()
VOCABULARY = 331
ROPE = dict(vocab_size=VOCABULARY, hidden_size=96, intermediate_size=160, num_hidden_layers=2, num_attention_heads=6,
            num_key_value_heads=2, max_position_embeddings=128, initializer_range=0.1, bos_token_id=1, eos_token_id=2)
CONFIGURATIONS = {
    # More than ten layers: their names are not in the order of their bytes.
    "llama": LlamaConfig(**{**ROPE, "num_hidden_layers": 11}, tie_word_embeddings=False, rms_norm_eps=1e-5, rope_theta=5e5),
    "llama-wide": LlamaConfig(**ROPE, tie_word_embeddings=True, head_dim=32),
    "llama-biases": LlamaConfig(**ROPE, tie_word_embeddings=True, attention_bias=True, mlp_bias=True),
    "qwen2": Qwen2Config(**ROPE, tie_word_embeddings=True, rope_theta=1e6),
    # head_dim and n_positions are those that transformers assumes when it reads GGUF.
    "qwen3": Qwen3Config(**ROPE, tie_word_embeddings=False, head_dim=128),
    "gpt2": GPT2Config(vocab_size=VOCABULARY, n_embd=96, n_layer=3, n_head=6, bos_token_id=1, eos_token_id=2),
    "gpt2-odd": GPT2Config(vocab_size=VOCABULARY, n_embd=84, n_layer=2, n_head=6, n_positions=64, n_inner=200,
                           tie_word_embeddings=False, bos_token_id=1, eos_token_id=2),
}
checks = 0


def check(condition, what):
    global checks
    checks += 1
    if not condition:
        sys.exit(f"check_convert: FAILED: {what}")


def tool(*arguments, status=0):
    found = subprocess.run(["ckpt-tool", *map(str, arguments)], capture_output=True, text=True, check=False)
    check(found.returncode == status,
          f"'ckpt-tool {' '.join(map(str, arguments))}' exited {found.returncode}, expected {status}: {found.stderr.strip()}")
    return found


def tensors(directory):
    """Every tensor of a Hugging Face directory, by name."""
    result = {}
    for name in sorted(os.listdir(directory)):
        if name.endswith(".safetensors") and name.startswith("model"):
            result |= load_file(os.path.join(directory, name))
    return result


def logits(directory, **options):
    model, report = AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager", output_loading_info=True, **options)
    for what, keys in report.items():
        check(not keys, f"{directory}: transformers reports {what}: {keys}")
    ids = torch.tensor([[(7 + 31 * index) % VOCABULARY for index in range(48)]])
    with torch.no_grad():
        return model.eval()(ids).logits[0]


def same(left, right, what):
    check(left.keys() == right.keys(), f"{what}: {sorted(left.keys() ^ right.keys())}")
    for name in left:
        check(left[name].dtype == right[name].dtype and left[name].shape == right[name].shape
              and torch.equal(left[name].view(torch.uint8), right[name].view(torch.uint8)), f"{what}: '{name}' differs")


def make(config, directory):
    torch.manual_seed(len(directory))
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:  # norms and biases are ones and zeros otherwise
                parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(directory)
    make_tokenizer().save_pretrained(directory)


def make_tokenizer():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<unk>", "<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(["the cat sat on the mat; the bat sat there, 1234 times"] * 40, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def hugging_face(name, source, work):
    original, expected = tensors(source), logits(source)
    parts = f"{work}/{name}-parts"
    tool("convert", source, parts, "--shard-size", "100KB")
    files = [file for file in os.listdir(parts) if file.endswith(".safetensors")]
    with open(f"{parts}/model.safetensors.index.json") as file:
        index = json.load(file)
    check(len(files) > 1 and set(index["weight_map"].values()) == set(files), f"{parts}: the index names the parts")
    check(index["metadata"]["total_size"] == sum(t.numel() * t.element_size() for t in original.values()), "total_size")
    for file in files:
        with safe_open(f"{parts}/{file}", "pt") as part:
            size = sum(part.get_tensor(key).numel() * 4 for key in part.keys())
            check(size <= 100_000 or len(part.keys()) == 1, f"{file} has {size} bytes")
    same(tensors(parts), original, f"{name} in parts")
    check(torch.equal(logits(parts), expected), f"{name} in parts: logits")
    tool("verify", "--deep", parts)
    tool("convert", parts, f"{work}/{name}-whole")
    check(os.path.exists(f"{work}/{name}-whole/model.safetensors"), "one part is one file")
    same(tensors(f"{work}/{name}-whole"), original, f"{name} whole again")
    # Parts that transformers wrote.
    theirs = f"{work}/{name}-theirs"
    AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).save_pretrained(theirs, max_shard_size="120KB")
    tool("convert", theirs, f"{work}/{name}-ours")
    same(tensors(f"{work}/{name}-ours"), original, f"{name} from transformers' parts")
    for flag, dtype in [("bf16", torch.bfloat16), ("f16", torch.float16)]:
        tool("convert", source, f"{work}/{name}-{flag}", "--dtype", flag)
        same(tensors(f"{work}/{name}-{flag}"), {key: value.to(dtype) for key, value in original.items()}, f"{name} {flag}")
        tool("convert", f"{work}/{name}-{flag}", f"{work}/{name}-{flag}-f32", "--dtype", "f32")
        same(tensors(f"{work}/{name}-{flag}-f32"), {k: v.to(dtype).float() for k, v in original.items()}, f"{name} {flag} f32")
        model = AutoModelForCausalLM.from_pretrained(f"{work}/{name}-{flag}", dtype="auto")
        check(model.dtype == dtype, f"{name} {flag}: transformers finds {model.dtype}")
    print(f"{name}: safetensors in {len(files)} parts, bf16, f16")


# The rules of llama.cpp's converter, written down again in numpy.
def gguf_tensor(kind, config, name, tensor):
    """GGUF's name and array of a tensor of Hugging Face."""
    layers = {
        "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
        "self_attn.k_norm": "attn_k_norm", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "ln_1": "attn_norm", "ln_2": "ffn_norm",
        "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down",
    }
    top = {
        "model.embed_tokens": "token_embd", "transformer.wte": "token_embd", "transformer.wpe": "position_embd",
        "model.norm": "output_norm", "transformer.ln_f": "output_norm", "lm_head": "output",
    }
    stem, suffix = name.rsplit(".", 1)
    array = tensor.numpy()
    if stem in top:
        return f"{top[stem]}.{suffix}", array
    stem = stem.removeprefix("model.layers.").removeprefix("transformer.h.")
    number, rest = stem.split(".", 1)
    if kind == "gpt2" and array.ndim == 2:
        array = array.T
    if kind == "llama" and rest in ("self_attn.q_proj", "self_attn.k_proj"):
        heads = config["num_attention_heads"] if "q_proj" in rest else config["num_key_value_heads"]
        array = array.reshape(heads, 2, array.shape[0] // heads // 2, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)
    return f"blk.{number}.{layers[rest]}.{suffix}", numpy.ascontiguousarray(array)


def is_narrow(name, array):
    return array.ndim > 1 and not name.endswith("_norm.weight") and name.endswith(".weight") and name != "position_embd.weight"


def gguf_files(name, source, work):
    with open(f"{source}/config.json") as file:
        config = json.load(file)
    kind = config["model_type"]
    original = tensors(source)
    expected = dict(gguf_tensor(kind, config, key, value) for key, value in original.items())
    types = gguf.GGMLQuantizationType
    for flag, wanted in [("f32", types.F32), ("f16", types.F16), ("bf16", types.BF16), ("q8_0", types.Q8_0)]:
        path = f"{work}/{name}-{flag}.gguf"
        note = tool("convert", source, path, "--dtype", flag).stderr
        reader = gguf.GGUFReader(path)
        found = {tensor.name: tensor for tensor in reader.tensors}
        check(found.keys() == expected.keys(), f"{path}: {sorted(found.keys() ^ expected.keys())}")
        for key, array in expected.items():
            quant = wanted if is_narrow(key, array) else types.F32
            if quant == types.Q8_0 and array.shape[-1] % 32 != 0:
                quant = types.F16
                check(f"{key}: rows of {array.shape[-1]}" in note, f"{path}: the note about '{key}': {note}")
            check(found[key].tensor_type == quant, f"{path}: '{key}' is {found[key].tensor_type.name}")
            check(list(found[key].shape) == list(reversed(array.shape)), f"{path}: '{key}' has shape {found[key].shape}")
            bytes_ = gguf.quants.quantize(array.astype(numpy.float32), quant)
            check(found[key].data.tobytes() == bytes_.tobytes(), f"{path}: '{key}' has other bytes than gguf's")
        fields = {key: field.contents() for key, field in reader.fields.items()}
        check(fields["general.architecture"] == kind and fields["tokenizer.ggml.model"] == "gpt2", "general.architecture")
        check(len(fields["tokenizer.ggml.tokens"]) == VOCABULARY and fields["tokenizer.ggml.pre"] == "gpt-2", "tokens")
        check(fields["tokenizer.ggml.bos_token_id"] == 1 and fields["tokenizer.ggml.eos_token_id"] == 2, "bos, eos")
        tool("verify", "--deep", path)
        # Back: what the file holds, bit by bit.
        back = f"{work}/{name}-{flag}-back"
        tool("convert", path, back, "--dtype", "f32")
        check(tool("diff", path, back, "--tolerance", "0").returncode == 0, f"{path}: back")
        if flag == "f32":
            same(tensors(back), original, f"{path}: back")
            check((logits(back) - logits(source)).abs().max() == 0, f"{path}: logits after the way there and back")
        # As transformers reads it, which leaves out the biases of a llama and n_inner.
        if name in ("llama-biases", "gpt2-odd"):
            continue
        try:
            theirs = logits(work, gguf_file=os.path.basename(path))
        except ValueError as error:
            check("not supported" in str(error), f"{path}: {error}")
            print(f"{name}-{flag}.gguf: transformers does not read it: {error}")
            continue
        difference = (theirs - logits(back)).abs().max().item()
        check(difference <= 2e-5 * max(1, theirs.abs().max().item()), f"{path}: transformers' logits differ by {difference}")
    text = "the cat sat there, 1234 mats! naïve"
    ours = PreTrainedTokenizerFast.from_pretrained(f"{work}/{name}-f32-back")
    check(ours(text).input_ids == make_tokenizer()(text).input_ids, f"{name}: the tokenizer after the way there and back")
    check(ours.eos_token == "</s>" and ours("</s>").input_ids == [2], f"{name}: special tokens")
    print(f"{name}: GGUF in f32, f16, bf16, q8_0")
    # A file that the gguf package wrote.
    path = f"{work}/{name}-theirs.gguf"
    writer = gguf.GGUFWriter(path, kind)
    with open(f"{source}/config.json") as file:
        write_fields(writer, kind, json.load(file))
    written = {}
    for key, array in expected.items():
        quant = types.Q8_0 if is_narrow(key, array) and array.shape[-1] % 32 == 0 else types.F32
        data = gguf.quants.quantize(array.astype(numpy.float32), quant)
        writer.add_tensor(key, data, raw_dtype=quant)
        written[key] = gguf.quants.dequantize(data, quant)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    tool("convert", path, f"{work}/{name}-from-theirs")
    found = tensors(f"{work}/{name}-from-theirs")
    for key, value in original.items():
        translated, _ = gguf_tensor(kind, config, key, value)
        _, again = gguf_tensor(kind, config, key, found[key])
        check(numpy.array_equal(again, written[translated].reshape(again.shape)), f"{path}: '{key}' as we read it")
    logits(f"{work}/{name}-from-theirs")


def write_fields(writer, kind, config):
    head_dim = config.get("head_dim") or 0
    writer.add_context_length(config.get("max_position_embeddings") or config["n_positions"])
    writer.add_embedding_length(config.get("hidden_size") or config["n_embd"])
    writer.add_block_count(config.get("num_hidden_layers") or config["n_layer"])
    writer.add_feed_forward_length(config.get("intermediate_size") or config.get("n_inner") or 4 * config["n_embd"])
    writer.add_head_count(config.get("num_attention_heads") or config["n_head"])
    if kind == "gpt2":
        writer.add_layer_norm_eps(config["layer_norm_epsilon"])
    else:
        writer.add_head_count_kv(config["num_key_value_heads"])
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
        writer.add_rope_freq_base(config.get("rope_theta") or config["rope_parameters"]["rope_theta"])
        if head_dim:
            writer.add_rope_dimension_count(head_dim)
            writer.add_key_length(head_dim)
            writer.add_value_length(head_dim)


def npz_files(name, source, work):
    original = {key: value.numpy() for key, value in tensors(source).items()}
    path = f"{work}/{name}.npz"
    tool("convert", source, path)
    with numpy.load(path) as archive:
        check(set(archive.files) == set(original), f"{path}: {sorted(set(archive.files) ^ set(original))}")
        for key, array in original.items():
            check(archive[key].dtype == array.dtype and numpy.array_equal(archive[key], array), f"{path}: '{key}'")
    check(zipfile.ZipFile(path).testzip() is None, f"{path}: checksums")
    tool("convert", path, f"{work}/{name}-npz-back")
    same(tensors(f"{work}/{name}-npz-back"), tensors(source), f"{path}: back")
    check(torch.equal(logits(f"{work}/{name}-npz-back"), logits(source)), f"{path}: logits")
    # numpy's own, with its wide fields, half precision, a matrix in Fortran order; the same compressed.
    theirs = f"{work}/{name}-theirs.npz"
    numpy.savez(theirs, **{key: numpy.asfortranarray(array) if index % 2 else array
                           for index, (key, array) in enumerate(sorted(original.items()))})
    tool("diff", theirs, source)
    tool("convert", theirs, f"{work}/{name}-npz-theirs", "--config", f"{source}/config.json")
    same(tensors(f"{work}/{name}-npz-theirs"), tensors(source), f"{theirs}: as we read it")
    tool("convert", theirs, f"{work}/{name}-no-config", status=66)
    compressed = f"{work}/{name}-compressed.npz"
    numpy.savez_compressed(compressed, **{key: numpy.asfortranarray(array) if index % 2 else array
                                          for index, (key, array) in enumerate(sorted(original.items()))})
    tool("diff", compressed, source)
    tool("verify", "--deep", compressed)
    tool("convert", compressed, f"{work}/{name}-npz-compressed", "--config", f"{source}/config.json")
    same(tensors(f"{work}/{name}-npz-compressed"), tensors(source), f"{compressed}: as we read it")
    tool("convert", source, f"{work}/{name}-f16.npz", "--dtype", "f16")
    with numpy.load(f"{work}/{name}-f16.npz") as archive:
        check(all(numpy.array_equal(archive[key], array.astype(numpy.float16)) for key, array in original.items()), "f16")
    print(f"{name}: npz both ways")


def llmc_parts(config):
    c, layers, positions = config["n_embd"], config["n_layer"], config["n_positions"]
    padded = (VOCABULARY + 127) // 128 * 128
    return padded, [
        ("wte.weight", (padded, c)), ("wpe.weight", (positions, c)), ("ln_1.weight", (layers, c)), ("ln_1.bias", (layers, c)),
        ("attn.c_attn.weight", (layers, 3 * c, c)), ("attn.c_attn.bias", (layers, 3 * c)),
        ("attn.c_proj.weight", (layers, c, c)), ("attn.c_proj.bias", (layers, c)),
        ("ln_2.weight", (layers, c)), ("ln_2.bias", (layers, c)),
        ("mlp.c_fc.weight", (layers, 4 * c, c)), ("mlp.c_fc.bias", (layers, 4 * c)),
        ("mlp.c_proj.weight", (layers, c, 4 * c)), ("mlp.c_proj.bias", (layers, c)),
        ("ln_f.weight", (c,)), ("ln_f.bias", (c,)),
    ]


def llmc_files(source, work):
    with open(f"{source}/config.json") as file:
        config = json.load(file)
    original = tensors(source)
    padded, parts = llmc_parts(config)

    def arrays(dtype):
        for name, shape in parts:
            if name in ("wte.weight", "wpe.weight", "ln_f.weight", "ln_f.bias"):
                array = original[f"transformer.{name}"]
                if name == "wte.weight":
                    array = torch.cat([array, torch.zeros(padded - VOCABULARY, array.shape[1])])
            else:
                layers = [original[f"transformer.h.{layer}.{name}"] for layer in range(config["n_layer"])]
                array = torch.stack([layer.T if layer.ndim == 2 else layer for layer in layers])
            check(tuple(array.shape) == shape, f"llm.c: '{name}'")
            yield array.to(dtype).contiguous().view(torch.uint8).numpy().tobytes()

    for version, flag, dtype in [(3, "f32", torch.float32), (5, "bf16", torch.bfloat16)]:
        header = numpy.zeros(256, "<i4")
        header[:8] = [20240326, version, config["n_positions"], VOCABULARY, config["n_layer"], config["n_head"], config["n_embd"], padded]
        expected = header.tobytes() + b"".join(arrays(dtype))
        path = f"{work}/gpt2-{flag}.bin"
        tool("convert", source, path, "--dtype", flag)
        with open(path, "rb") as file:
            check(file.read() == expected, f"{path}: other bytes than llm.c's rules give")
        tool("convert", path, f"{work}/gpt2-{flag}-llmc-back")
        same(tensors(f"{work}/gpt2-{flag}-llmc-back"), {k: v.to(dtype) for k, v in original.items()}, f"{path}: back")
        # From one foreign format to another: transposed twice.
        tool("convert", path, f"{work}/gpt2-{flag}-llmc.gguf")
        tool("diff", path, f"{work}/gpt2-{flag}-llmc.gguf", "--tolerance", "0")
    check(torch.equal(logits(f"{work}/gpt2-f32-llmc-back"), logits(source)), "llm.c: logits")
    print("gpt2: llm.c's versions 3 and 5, byte by byte")


def averages(work):
    sources = []
    for seed in range(3):
        torch.manual_seed(seed)
        config = LlamaConfig(**{**ROPE, "num_hidden_layers": 2}, tie_word_embeddings=True)
        sources.append(f"{work}/average-{seed}")
        AutoModelForCausalLM.from_config(config).save_pretrained(sources[-1])
    arrays = [{key: value.numpy().astype(numpy.float64) for key, value in tensors(source).items()} for source in sources]

    def compare(what, expected, *options):
        output = f"{work}/average-{what}"
        tool("average", "--output", output, *options, *sources)
        for key, value in tensors(output).items():
            reference = expected([array[key] for array in arrays])
            check(numpy.array_equal(value.numpy(), reference.astype(numpy.float32)), f"average {what}: '{key}'")
        logits(output)

    compare("uniform", lambda x: ((0 + 1.0 * x[0]) + 1.0 * x[1] + 1.0 * x[2]) / 3.0)
    compare("weighted", lambda x: (0.5 * x[0] + 1.0 * x[1] + 2.5 * x[2]) / 4.0, "--weights", "0.5,1,2.5")
    compare("ema", lambda x: 0.9 * (0.9 * x[0] + (1 - 0.9) * x[1]) + (1 - 0.9) * x[2], "--ema", "0.9")
    tool("average", "--output", f"{work}/average-bf16", "--dtype", "bf16", *sources)
    for key, value in tensors(f"{work}/average-bf16").items():
        reference = torch.tensor((arrays[0][key] + arrays[1][key] + arrays[2][key]) / 3.0)
        check((value.double() - reference).abs().max() <= reference.abs().max() / 256, f"average bf16: '{key}'")
    tool("average", "--output", f"{work}/average-none", sources[0], f"{work}/qwen2", status=65)
    print("average: uniform, weighted, ema")
    # Statistics and differences.
    for line in tool("stats", "--json", "--bins", "10", sources[0]).stdout.splitlines():
        found = json.loads(line)
        array = arrays[0][found["tensor"]]
        for key, value in [("norm", numpy.sqrt((array**2).sum())), ("mean", array.mean()), ("std", array.std()),
                           ("min", array.min()), ("max", array.max())]:
            check(abs(found[key] - value) <= 1e-12 + 1e-9 * abs(value), f"stats: {key} of '{found['tensor']}'")
        check(found["histogram"] == numpy.histogram(array, 10)[0].tolist(), f"stats: histogram of '{found['tensor']}'")
        check(found["non_finite"] == 0 and found["count"] == array.size, "stats: counts")
    for line in tool("diff", sources[0], sources[1], status=1).stdout.splitlines()[1:]:
        status, largest, relative, l2, name = line.split("\t")
        a, b = arrays[0][name], arrays[1][name]
        if status == "equal":
            check(numpy.array_equal(a, b), f"diff: '{name}' is equal")
            continue
        check(float(largest) == numpy.abs(a - b).max(), f"diff: max_abs of '{name}'")
        check(float(relative) == (numpy.abs(a - b) / numpy.maximum(abs(a), abs(b))).max(), f"diff: max_rel of '{name}'")
        check(abs(float(l2) - numpy.linalg.norm(a - b) / numpy.linalg.norm(a)) < 1e-9, f"diff: relative_l2 of '{name}'")
    tool("diff", sources[0], f"{work}/average-1", "--tolerance", "1")
    # A value that is not finite is found.
    os.makedirs(f"{work}/broken")
    broken = tensors(sources[0])
    broken["model.norm.weight"][3] = float("nan")
    save_file(broken, f"{work}/broken/model.safetensors", {"format": "pt"})
    with open(f"{sources[0]}/config.json") as file, open(f"{work}/broken/config.json", "w") as copy:
        copy.write(file.read())
    tool("verify", f"{work}/broken")
    check("'model.norm.weight'" in tool("verify", "--deep", f"{work}/broken", status=1).stderr, "verify --deep: NaN")
    print("stats, diff, verify --deep")


def tokenizers(work, source):
    """The rules by which text is cut, under GGUF's names."""
    rules = {
        "qwen2": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        "llama-bpe": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        "default": r"\w+|\W+",
    }
    for rule, expression in rules.items():
        tokenizer = make_tokenizer()
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(expression), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        tokenizer.backend_tokenizer.save(f"{work}/{rule}.json")
        path = f"{work}/{rule}.gguf"
        note = tool("convert", source, path, "--tokenizer", f"{work}/{rule}.json").stderr
        found = gguf.GGUFReader(path).fields["tokenizer.ggml.pre"].contents()
        check(found == rule, f"tokenizer.ggml.pre is {found}, expected {rule}")
        check(("'default' is written" in note) == (rule == "default"), f"the note about {rule}: {note}")
        tool("convert", path, f"{work}/rule-{rule}")
        check(os.path.exists(f"{work}/rule-{rule}/tokenizer.json") == (rule != "default"), f"{rule}: tokenizer.json")
        if rule != "default":
            text = "It's 12345 cats\n\n  and bats"
            ours = PreTrainedTokenizerFast.from_pretrained(f"{work}/rule-{rule}")
            check(ours(text).input_ids == tokenizer.backend_tokenizer.encode(text).ids, f"{rule}: ids")
    print("tokenizers: gpt-2, qwen2, llama-bpe, and one that has no name")


LONG = {**ROPE, "hidden_size": 128, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 64, "tie_word_embeddings": True}


def llama3(factor, original, theta=5e5, **options):
    scaling = dict(rope_type="llama3", factor=factor, low_freq_factor=1.0, high_freq_factor=4.0,
                   original_max_position_embeddings=original)
    return LlamaConfig(**{**LONG, **options}, rope_theta=theta, rope_scaling=scaling)


SCALED = {
    "linear": LlamaConfig(**LONG, rope_scaling=dict(rope_type="linear", factor=4.0)),
    "yarn": Qwen2Config(**LONG, rope_scaling=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16)),
    "yarn-attention": Qwen3Config(**LONG, rope_theta=1e6, rope_scaling=dict(
        rope_type="yarn", factor=2.0, original_max_position_embeddings=32, beta_fast=24.0, beta_slow=2.0, attention_factor=1.3)),
    # Llama 3.1's and 3.2's, then what lengths and widths do to the factors.
    "llama3.1": llama3(8.0, 8192, head_dim=128), "llama3.2": llama3(32.0, 8192),
    "llama3-short": llama3(4.0, 20), "llama3-80": llama3(8.0, 3000, head_dim=80), "llama3-8": llama3(2.5, 64, theta=1e4, head_dim=8),
    "llama3-unreached": llama3(8.0, 1 << 20, theta=1e6),
}


def rope_scaling(directory):
    with open(f"{directory}/config.json") as file:
        config = json.load(file)
    found = dict(config.get("rope_scaling") or config["rope_parameters"])
    found.pop("rope_theta", None)
    return found


def scalings(work):
    """Scalings of the rotation, through GGUF and back, and as llama.cpp's converter writes them."""
    for name, config in SCALED.items():
        source, path, back = f"{work}/scaled-{name}", f"{work}/scaled-{name}.gguf", f"{work}/scaled-{name}-back"
        make(config, source)
        tool("convert", source, path)
        tool("convert", path, back)
        expected = logits(source)
        plain = logits(source, config=type(config)(**{**config.to_dict(), "rope_scaling": None, "rope_parameters": {
            "rope_type": "default", "rope_theta": config.rope_parameters["rope_theta"]}}))
        difference = (logits(back) - expected).abs().max().item()
        check(difference <= 2e-6 * expected.abs().max().item(), f"{name}: logits after the way there and back differ by {difference}")
        if name not in ("llama3.1", "llama3.2", "llama3-80", "llama3-unreached"):  # those change nothing in 48 positions
            check((plain - expected).abs().max() > 1e-3, f"{name}: the scaling does nothing here")
        wanted, found = rope_scaling(source), rope_scaling(back)
        for key, value in wanted.items():
            check(found.get(key) == value, f"{name}: '{key}' is {found.get(key)}, expected {value}")
        if not name.startswith("llama3"):
            continue
        tensor = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}["rope_freqs.weight"]
        base = config.rope_parameters["rope_theta"] ** -(torch.arange(0, config.head_dim, 2, dtype=torch.float64) / config.head_dim)
        theirs = (base / ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")[0].double()).numpy()
        check(tensor.tensor_type == gguf.GGMLQuantizationType.F32 and numpy.abs(tensor.data / theirs - 1).max() < 4e-6,
              f"{name}: rope_freqs.weight {tensor.data} is not transformers' {theirs}")
    # The same factors as a converter gets them that computes in float32, in a file of the gguf package's.
    for name in ("llama3.1", "llama3.2", "llama3-short", "llama3-80"):
        config, path = SCALED[name], f"{work}/their-{name}.gguf"
        scaling = config.rope_parameters
        one = numpy.float32(1)
        exponents = numpy.arange(0, config.head_dim, 2, dtype=numpy.float32) / numpy.float32(config.head_dim)
        turns = numpy.float32(scaling["original_max_position_embeddings"]) * (
            one / numpy.float32(scaling["rope_theta"]) ** exponents) / numpy.float32(2 * numpy.pi)
        share = numpy.clip((turns - one) / numpy.float32(3), 0, 1).astype(numpy.float32)
        factors = (one / ((one - share) / numpy.float32(scaling["factor"]) + share)).astype(numpy.float32)
        copy_gguf(f"{work}/scaled-{name}.gguf", path, tensors={"rope_freqs.weight": factors})
        tool("convert", path, f"{work}/their-{name}")
        found = rope_scaling(f"{work}/their-{name}")
        for key, value in rope_scaling(f"{work}/scaled-{name}").items():
            check(found[key] == value, f"{path}: '{key}' is {found[key]}, expected {value}")
    copy_gguf(f"{work}/scaled-llama3.2.gguf", f"{work}/odd.gguf", tensors={"rope_freqs.weight": numpy.linspace(1, 8, 32, dtype=numpy.float32)})
    check("'rope_freqs.weight'" in tool("convert", f"{work}/odd.gguf", f"{work}/odd", status=65).stderr, "factors of no formula")
    # A model with a head of its own that calls itself tied: transformers keeps both.
    head = f"{work}/own-head"
    make(SCALED["llama3.2"], head)
    stored = tensors(head)
    save_file({**stored, "lm_head.weight": stored["model.embed_tokens.weight"] + 1}, f"{head}/model.safetensors", {"format": "pt"})
    for output in (f"{head}.gguf", f"{head}.npz", f"{head}-parts"):
        check("'lm_head.weight' differs" in tool("convert", head, output, status=65).stderr, output)
    save_file({**stored, "lm_head.weight": stored["model.embed_tokens.weight"].clone()}, f"{head}/model.safetensors", {"format": "pt"})
    tool("convert", head, f"{head}.gguf")
    print(f"scalings: {', '.join(SCALED)}")


def copy_gguf(source, path, tensors):
    """A GGUF file once more, some tensors being others."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(path, reader.fields["general.architecture"].contents())
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key == "general.architecture":
            continue
        kind, value = field.types[0], field.contents()
        if kind == gguf.GGUFValueType.ARRAY:
            writer.add_key_value(key, value, kind, sub_type=field.types[-1])
        else:
            writer.add_key_value(key, value, kind)
    for tensor in reader.tensors:
        if tensor.name in tensors:
            writer.add_tensor(tensor.name, tensors[tensor.name])
        else:
            writer.add_tensor(tensor.name, numpy.array(tensor.data), raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def templates(work, source):
    """transformers' chat template through GGUF."""
    tokenizer = make_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}</s>{% endfor %}"
    tokenizer.save_pretrained(source)
    path = f"{work}/template.gguf"
    tool("convert", source, path)
    check(gguf.GGUFReader(path).fields["tokenizer.chat_template"].contents() == tokenizer.chat_template, "tokenizer.chat_template")
    tool("convert", path, f"{work}/template")
    found = PreTrainedTokenizerFast.from_pretrained(f"{work}/template")
    check(found.chat_template == tokenizer.chat_template, "the chat template after the way there and back")
    print("chat templates")


def own_conversions(work):
    """A model averages with its own conversions, whatever each format says or leaves out."""
    for name in ("llama", "qwen2", "gpt2"):
        others = [f"{work}/{name}-f32.gguf", f"{work}/{name}.npz"] + ([f"{work}/gpt2-f32.bin"] if name == "gpt2" else [])
        tool("average", "--output", f"{work}/{name}-average", f"{work}/{name}", *others)
        tool("diff", f"{work}/{name}-average", f"{work}/{name}", "--tolerance", "1e-7")
    print("averages of a model's own conversions")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--keep", help="work there and leave the files")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.keep or temporary
        for name, config in CONFIGURATIONS.items():
            source = f"{work}/{name}"
            make(config, source)
            hugging_face(name, source, work)
            gguf_files(name, source, work)
            npz_files(name, source, work)
        llmc_files(f"{work}/gpt2", work)
        tool("convert", f"{work}/llama", f"{work}/llama.bin", status=65)
        averages(work)
        own_conversions(work)
        tokenizers(work, f"{work}/qwen2")
        scalings(work)
        templates(work, f"{work}/llama-wide")
    print(f"check_convert: {checks} checks passed")


if __name__ == "__main__":
    main()
