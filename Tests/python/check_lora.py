#!/usr/bin/env python3
"""Does LoRA do what its paper says?

    check_lora.py [--steps 4]

Trains low-rank adapters beside a small model of each family with `train-step --lora`, which must be on the PATH with `tok-shard`,
`tok-pack` and `ckpt-tool`, saves every step, and holds each step against PyTorch in float64: transformers' model of the base, with
x A^T B^T s (arXiv:2106.09685; alpha / r, or alpha / sqrt(r) with rslora) added to the output of every adapted module.

  * the loss, the norm and every gradient of A and B at the parameters of the step before, in fp32;
  * the bounds of the new A, which are PEFT's, and B = 0;
  * the base's tensors, which may not change by a bit;
  * what `ckpt-tool merge-lora` wrote: W + s B A in float64, rounded once, loaded by transformers, whose logits are those of
    `ckpt-tool logits` of the checkpoint before merging.

Prints one line for each; exits 1 when one is above its gate.
"""

import argparse
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy
import torch
import transformers
from safetensors import safe_open
from safetensors.numpy import load_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from parity import batch_stream  # noqa: E402
from tiny_models import GPT2, LLAMA  # noqa: E402

MODELS = {
    "llama": LLAMA,
    "qwen2": LLAMA | {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "tie_word_embeddings": True},
    "qwen3": LLAMA | {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]},
    "gpt2": GPT2,
}
# Model, options, and how many matrices are adapted.
CASES = [
    ("llama", "rank=8,alpha=16,targets=q_proj+v_proj", 4),
    ("llama", "rank=4,alpha=3,rslora=true,targets=all", 14),
    ("qwen2", "rank=3,targets=k_proj+up_proj+*.1.*.o_proj", 5),
    ("qwen3", "rank=8,alpha=16,targets=all", 14),
    ("gpt2", "rank=8,alpha=16", 2),
    ("gpt2", "rank=5,alpha=10,targets=c_attn+c_proj+c_fc", 8),
]
# Relative, of fp32 against float64; L2 for gradients, of the largest logit for logits.
GATES = {"loss": 1e-6, "norm": 1e-5, "gradient": 1e-5, "merged": 6.0e-8, "logits": 1e-5}


def run(*arguments, **keywords):
    return subprocess.run(arguments, check=True, **keywords)


class Oracle:
    """The base in float64, with adapters."""

    def __init__(self, base, lora):
        self.model = transformers.AutoModelForCausalLM.from_pretrained(
            base, dtype=torch.float64, attn_implementation="eager"
        ).eval()
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)
        rank = lora["rank"]
        self.scale = lora["alpha"] / (math.sqrt(rank) if lora["rslora"] else rank)
        self.adapters = {}

    def load(self, tensors):
        """A and B by module; hooks are set once."""
        for name, array in tensors.items():
            module, _, kind = name.removesuffix(".weight").rpartition(".")
            if kind not in ("lora_A", "lora_B"):
                continue
            if module not in self.adapters:
                self.adapters[module] = {}
                self.model.get_submodule(module).register_forward_hook(self.hook(module))
            self.adapters[module][kind] = torch.tensor(array, dtype=torch.float64, requires_grad=True)

    def hook(self, module):
        def add(_, inputs, output):
            pair = self.adapters[module]
            return output + self.scale * (inputs[0] @ pair["lora_A"].T) @ pair["lora_B"].T

        return add

    def logits(self, ids):
        return self.model(input_ids=torch.as_tensor(ids)).logits

    def step(self, batch):
        """Mean loss of a batch, and the gradients by name."""
        # Whole rows: the stream was packed with --cross-document.
        losses = torch.nn.functional.cross_entropy(
            self.logits(batch.inputs).flatten(0, 1), torch.as_tensor(batch.targets).flatten(), reduction="none"
        )
        counts = torch.as_tensor(batch.counts()).flatten()
        loss = (losses * counts).sum() / counts.sum()
        loss.backward()
        return loss.item(), {
            f"{module}.{kind}.weight": tensor.grad.numpy()
            for module, pair in self.adapters.items()
            for kind, tensor in pair.items()
        }


def relative(a, b):
    return float(numpy.linalg.norm(a.astype(numpy.float64) - b) / max(numpy.linalg.norm(b), 1e-300))


def check(work, model, text, adapted, steps, stream):
    """The worst of each quantity, and what is wrong beside that."""
    wrong, worst = [], {name: 0.0 for name in GATES}
    directory = tempfile.mkdtemp(dir=work)
    base, runs, gradients = f"{work}/{model}.run/latest", f"{directory}/run", f"{directory}/gradients"
    command = ["train-step", "--quiet", "--run", runs, "--from", base, "--lora", text, "--learning-rate", "1e-2"]
    command += ["--steps", str(steps), "--save-every", "1", "--seed", "7", "--dump-gradients", gradients]
    with open(f"{work}/stream", "rb") as file:
        run(*command, stdin=file)
    with open(f"{runs}/latest/config.json", encoding="utf-8") as file:
        lora = json.load(file)["lora"]
    oracle, before = Oracle(base, lora), load_file(f"{base}/model.safetensors")
    for step in range(steps):
        tensors = load_file(f"{runs}/step-{step:08d}/model.safetensors")
        if step == 0:
            for name, array in tensors.items():
                if name.endswith("lora_A.weight") and not 0.5 < abs(array).max() * math.sqrt(array.shape[1]) <= 1:
                    wrong.append(f"{name} is not uniform in 1 / sqrt(in)")
                if name.endswith("lora_B.weight") and array.any():
                    wrong.append(f"{name} is not zero")
        oracle.load(tensors)
        if len(oracle.adapters) != adapted:
            wrong.append(f"{len(oracle.adapters)} matrices are adapted, expected {adapted}")
        loss, expected = oracle.step(stream.batches[step])
        path = f"{gradients}/step-{step + 1:08d}.safetensors"
        found = load_file(path)
        if set(found) != set(expected):
            wrong.append(f"gradients of {sorted(set(found) ^ set(expected))[:3]}")
            break
        with safe_open(path, "numpy") as file:
            said = file.metadata()
        norm = math.sqrt(sum(float((g.astype(numpy.float64) ** 2).sum()) for g in expected.values()))
        worst["loss"] = max(worst["loss"], abs(float(said["loss"]) / loss - 1))
        worst["norm"] = max(worst["norm"], abs(float(said["gradient_norm"]) / norm - 1))
        for name, gradient in expected.items():
            # Behind B = 0 the first gradient of A is exactly zero.
            worst["gradient"] = max(worst["gradient"], relative(found[name], gradient) if gradient.any() else float(found[name].any()))
    after = load_file(f"{runs}/latest/model.safetensors")
    wrong += [f"{name} has changed" for name in before if before[name].tobytes() != after[name].tobytes()]
    merge(directory, runs, oracle, after, before, worst, wrong, stream)
    return worst, wrong


def merge(directory, runs, oracle, after, before, worst, wrong, stream):
    merged = f"{directory}/merged"
    run("ckpt-tool", "merge-lora", runs, "-o", merged, stdout=subprocess.DEVNULL)
    tensors = load_file(f"{merged}/model.safetensors")
    if set(tensors) != set(before):
        wrong.append(f"merged tensors {sorted(set(tensors) ^ set(before))[:3]}")
        return
    oracle.load(after)
    for name, array in tensors.items():
        module = name.removesuffix(".weight")
        expected = before[name].astype(numpy.float64)
        if module in oracle.adapters:
            pair = {kind: tensor.detach().numpy() for kind, tensor in oracle.adapters[module].items()}
            product = oracle.scale * pair["lora_B"] @ pair["lora_A"]
            expected = expected + (product.T if "transformer.h." in name else product)
            worst["merged"] = max(worst["merged"], float((abs(array - expected) / numpy.maximum(abs(expected), 1e-30)).max()))
        elif array.tobytes() != before[name].tobytes():
            wrong.append(f"{name} has changed in merging")
    # As fp32 models: ours with adapters, transformers' without.
    ids = stream.batches[0].inputs[0][:24]
    lines = run("ckpt-tool", "logits", runs, "--ids", ",".join(map(str, ids)), stdout=subprocess.PIPE).stdout
    ours = numpy.array([json.loads(line) for line in lines.splitlines()])
    plain = transformers.AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        theirs = plain(input_ids=torch.as_tensor(ids)[None]).logits[0].numpy()
        exact = oracle.logits(ids[None])[0].numpy()
    worst["logits"] = max(abs(ours - exact).max(), abs(theirs - exact).max()) / abs(exact).max()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=4)
    steps = parser.parse_args().steps
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    failed = False
    with tempfile.TemporaryDirectory() as work:
        grammar = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../pipelines/grammar.py")
        with open(f"{work}/text", "wb") as file:
            run(sys.executable, grammar, "--bytes", "60000", stdout=file)
        run("tok-shard", "--tokenizer", "bytes", "--split-on", "", "--output", f"{work}/data", f"{work}/text")
        pack = ["tok-pack", "--rows", "4", "--length", "64", "--seed", "1", "--cross-document", "--limit", str(steps)]
        with open(f"{work}/stream", "wb") as file:
            run(*pack, f"{work}/data", stdout=file)
        stream = batch_stream.read(f"{work}/stream")
        for model, config in MODELS.items():
            with open(f"{work}/{model}.json", "w", encoding="utf-8") as file:
                json.dump(config, file)
            command = ["train-step", "--quiet", "--run", f"{work}/{model}.run", "--model", f"{work}/{model}.json"]
            with open(f"{work}/stream", "rb") as file:
                run(*command, "--steps", str(steps), "--learning-rate", "3e-3", stdin=file)
        for model, text, adapted in CASES:
            worst, wrong = check(work, model, text, adapted, steps, stream)
            passed = not wrong and all(worst[name] <= gate for name, gate in GATES.items())
            failed |= not passed
            numbers = ", ".join(f"{name} {worst[name]:.1e} (gate {gate:.0e})" for name, gate in GATES.items())
            print(f"{'passed' if passed else 'FAILED'}  {model:6} {text}: {numbers}", *wrong, sep="\n        " if wrong else "")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
