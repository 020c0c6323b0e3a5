#!/usr/bin/env python3
"""Do the optimizers do what their papers say?

    check_optimizers.py [--steps 5]

Trains a small Llama and a small GPT-2 with each optimizer of `train-step`, which must be on the PATH with `tok-shard` and
`tok-pack`, saves every step, and replays each step from the gradients that `--dump-gradients` wrote: parameters and moments of
step t, from those of step t - 1,

  * by a reference in NumPy float64, written from the papers (Lion and Muon too), and
  * by torch.optim.AdamW, SGD and Muon in float64 (torch has no Lion; its Muon rounds the iteration to bfloat16, which is taken
    out here, as it costs a seventh of the update; its divisor is max(norm, 1e-7), not norm + 1e-7).

Prints one line for each, worst relative L2 error of a tensor's update; exits 1 when one is above its gate.
"""

import argparse
import fnmatch
import json
import os
import subprocess
import sys
import tempfile

import numpy
import torch
from safetensors.numpy import load_file

from tiny_models import GPT2, LLAMA

NAMES = {
    "llama": {"embedding": "model.embed_tokens.*", "norms": "*norm*"},
    "gpt2": {"embedding": "transformer.wte.weight", "norms": "*ln_?.*"},
}

# name: options, the gate of the float64 reference, the gate of torch (None: torch has none). Gates are relative L2 errors of a
# tensor's update; an ulp of the parameter, which fp32 rounds, is forgiven.
CASES = {
    "adamw, ema": ("--optimizer adamw --learning-rate 3e-3 --ema 0.9", 1e-5, 1e-5),
    "adamw, no clip": ("--clip 0 --beta1 0.8 --beta2 0.9 --epsilon 1e-6 --weight-decay 0.3", 1e-5, 1e-5),
    "lion": ("--optimizer lion --learning-rate 1e-3", 1e-5, None),
    "lion, other betas": ("--optimizer lion --beta1 0.95 --beta2 0.98 --weight-decay 1 --clip 0.1", 1e-5, None),
    "decay, rates": (
        "--no-decay {embedding} --no-decay *mlp* --decay {norms} --rate *attn*=0.25 --rate *mlp*=3", 5e-5, 5e-5,
    ),
    "muon, rates": ("--optimizer muon --no-decay *attn* --rate *mlp*=2 --rate {embedding}=0.5", 1e-4, 1e-3),
    "sgd": ("--optimizer sgd --learning-rate 0.5", 1e-5, 1e-5),
    "sgd, nesterov": ("--optimizer sgd --learning-rate 0.1 --momentum 0.8 --nesterov --weight-decay 0.01", 1e-5, 1e-5),
    "sgd, plain": ("--optimizer sgd --learning-rate 0.5 --momentum 0 --weight-decay 0.1", 1e-5, 1e-5),
    "muon": ("--optimizer muon --learning-rate 1e-3", 1e-4, 1e-3),
    "muon, original": ("--optimizer muon --learning-rate 0.02 --muon-scale original --weight-decay 0.01", 1e-4, 1e-3),
    "muon, no nesterov": ("--optimizer muon --learning-rate 1e-3 --no-nesterov --momentum 0.9", 1e-4, 1e-3),
}


def run(*arguments, **keywords):
    return subprocess.run(arguments, check=True, **keywords)


def matches(recipe, key, name):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in recipe.get(key, []))


def decay_of(recipe, name, array):
    if matches(recipe, "no_decay", name):
        return 0.0
    return recipe["weight_decay"] if array.ndim == 2 or matches(recipe, "decay", name) else 0.0


def factor_of(recipe, name):
    factor = 1.0
    for rule in recipe.get("rates", []):
        if fnmatch.fnmatchcase(name, rule["pattern"]):
            factor = rule["factor"]
    return factor


class Reference:
    """One step of each rule in float64."""

    def __init__(self, recipe, input_major):
        self.recipe, self.input_major = recipe, input_major

    @staticmethod
    def is_block_matrix(name, array):
        return array.ndim == 2 and (".layers." in name or ".h." in name)

    def step(self, name, p, g, m, v, t, rate):
        r = self.recipe
        decay, rate = decay_of(r, name, p), rate * factor_of(r, name)
        kind = r["optimizer"]
        if kind == "muon" and not self.is_block_matrix(name, p):
            kind = "adamw"
        return getattr(self, kind)(p, g, m, v, t, rate, decay)

    def adamw(self, p, g, m, v, t, rate, decay):
        b1, b2 = self.recipe["beta1"], self.recipe["beta2"]
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        step = m / (1 - b1**t) / (numpy.sqrt(v / (1 - b2**t)) + self.recipe["epsilon"])
        return p - rate * decay * p - rate * step, m, v

    def lion(self, p, g, m, v, t, rate, decay):
        b1, b2 = self.recipe["beta1"], self.recipe["beta2"]
        c = b1 * m + (1 - b1) * g
        # Where rounding may decide the sign, either is right: marked, and left out of the comparison.
        unsure = abs(c) < 1e-6 * (abs(b1 * m) + abs((1 - b1) * g))
        return p - rate * (numpy.where(unsure, numpy.nan, numpy.sign(c)) + decay * p), b2 * m + (1 - b2) * g, None

    def sgd(self, p, g, m, v, t, rate, decay):
        mu = self.recipe["momentum"]
        d = g + decay * p
        if mu == 0:
            return p - rate * d, None, None
        m = mu * m + d
        return p - rate * (d + mu * m if self.recipe["nesterov"] else m), m, None

    def muon(self, p, g, m, v, t, rate, decay):
        mu = self.recipe["momentum"]
        m = mu * m + (1 - mu) * g
        u = mu * m + (1 - mu) * g if self.recipe["nesterov"] else m
        x = u / (numpy.linalg.norm(u) + 1e-7)
        for _ in range(5):
            a = x @ x.T
            x = 3.4445 * x + (-4.775 * a + 2.0315 * a @ a) @ x
        rows, columns = p.shape[::-1] if self.input_major else p.shape
        scale = 0.2 * max(rows, columns) ** 0.5 if self.recipe["muon_scale"] == "rms" else max(1, rows / columns) ** 0.5
        return p - rate * (scale * x + decay * p), m, None


def torch_step(recipe, name, p, g, m, v, t, rate, input_major):
    """The same by torch.optim; None where torch has no such optimizer."""
    kind = recipe["optimizer"]
    if kind == "muon" and not Reference.is_block_matrix(name, p):
        kind = "adamw"
    if kind == "lion":
        return None
    decay, rate = decay_of(recipe, name, p), rate * factor_of(recipe, name)
    transposed = kind == "muon" and input_major
    turn = (lambda x: torch.tensor(x.T.copy() if transposed else x))  # fmt: skip
    parameter = torch.nn.Parameter(turn(p))
    parameter.grad = turn(g)
    if kind == "adamw":
        optimizer = torch.optim.AdamW([parameter], rate, (recipe["beta1"], recipe["beta2"]), recipe["epsilon"], decay)
        if t > 1:
            state = {"step": torch.tensor(float(t - 1)), "exp_avg": turn(m), "exp_avg_sq": turn(v)}
            optimizer.state[parameter].update(state)
    elif kind == "sgd":
        mu = recipe["momentum"]
        optimizer = torch.optim.SGD([parameter], rate, mu, weight_decay=decay, nesterov=recipe["nesterov"])
        if t > 1 and mu > 0:
            optimizer.state[parameter]["momentum_buffer"] = turn(m)
    else:
        adjust = "match_rms_adamw" if recipe["muon_scale"] == "rms" else "original"
        optimizer = torch.optim.Muon(
            [parameter], rate, decay, recipe["momentum"], recipe["nesterov"], adjust_lr_fn=adjust
        )
        if t > 1:
            optimizer.state[parameter]["momentum_buffer"] = turn(m)
    rounding, torch.Tensor.bfloat16 = torch.Tensor.bfloat16, lambda tensor: tensor
    try:
        optimizer.step()
    finally:
        torch.Tensor.bfloat16 = rounding
    result = parameter.detach().numpy()
    return result.T if transposed else result


def distance(ours, theirs, before):
    """Relative L2 error of an update; what the parameter's own rounding to fp32 explains is no error."""
    known = ~numpy.isnan(theirs)
    error = numpy.maximum(abs(ours - theirs) - numpy.spacing(abs(ours).astype(numpy.float32)), 0)[known]
    return numpy.linalg.norm(error) / max(numpy.linalg.norm((theirs - before)[known]), 1e-30)


def replay(directory, steps, input_major):
    """Worst distances to the reference, of parameters and moments, and to torch, and the reference's coverage."""
    with open(f"{directory}/run/step-{0:08}/state.json", encoding="utf-8") as file:
        recipe = json.load(file)["recipe"]
    with open(f"{directory}/run/metrics.jsonl", encoding="utf-8") as file:
        rates = {record["step"]: record["learning_rate"] for record in map(json.loads, file) if "learning_rate" in record}
    reference = Reference(recipe, input_major)

    def load(step, name):
        return load_file(f"{directory}/run/step-{step:08}/{name}")

    worst, worst_torch, unsure, count = 0.0, 0.0, 0, 0
    before, moments = load(0, "model.safetensors"), load(0, "optimizer.safetensors")
    expected = {prefix + name for name, array in before.items() for prefix in kept(recipe, name, array)}
    if set(moments) != expected:
        sys.exit(f"check_optimizers: {recipe['optimizer']}: moments {sorted(set(moments) ^ expected)}")
    averages = {name: p.astype(numpy.float64) for name, p in before.items()}
    for step in range(1, steps + 1):
        gradients = load_file(f"{directory}/gradients/step-{step:08}.safetensors")
        norm = numpy.sqrt(sum(numpy.square(g, dtype=numpy.float64).sum() for g in gradients.values()))
        scale = recipe["clip"] / norm if recipe["clip"] is not None and norm > recipe["clip"] else 1.0
        after, moments_after = load(step, "model.safetensors"), load(step, "optimizer.safetensors")
        for name, p in before.items():
            p64, g64 = p.astype(numpy.float64), gradients[name].astype(numpy.float64) * scale
            m, v = (moments[k + name].astype(numpy.float64) if k + name in moments else None for k in ("m.", "v."))
            theirs, m_after, v_after = reference.step(name, p64, g64, m, v, step, rates[step])
            worst = max(worst, distance(after[name].astype(numpy.float64), theirs, p64))
            unsure, count = unsure + numpy.isnan(theirs).sum(), count + theirs.size
            for key, array in (("m.", m_after), ("v.", v_after)):
                if array is not None:
                    found = moments_after[key + name].astype(numpy.float64)
                    worst = max(worst, numpy.linalg.norm(found - array) / max(numpy.linalg.norm(array), 1e-30))
            torchs = torch_step(recipe, name, p64, g64, m, v, step, rates[step], input_major)
            if torchs is not None:
                worst_torch = max(worst_torch, distance(after[name].astype(numpy.float64), torchs, p64))
        before, moments = after, moments_after
        if "ema" in recipe:
            averages = {name: recipe["ema"] * e + (1 - recipe["ema"]) * after[name] for name, e in averages.items()}
            for name, array in load(step, "ema.safetensors").items():
                worst = max(worst, numpy.linalg.norm(array - averages[name]) / numpy.linalg.norm(averages[name]))
    if unsure > 1e-4 * count:
        sys.exit(f"check_optimizers: {unsure} of {count} signs of Lion were left out")
    return worst, worst_torch


def kept(recipe, name, array):
    """Prefixes of the moments that a parameter has."""
    kind = recipe["optimizer"]
    if kind == "adamw" or (kind == "muon" and not Reference.is_block_matrix(name, array)):
        return ["m.", "v."]
    return [] if kind == "sgd" and recipe["momentum"] == 0 else ["m."]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=5)
    arguments = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as work:
        grammar = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../pipelines/grammar.py")
        with open(f"{work}/text", "wb") as file:
            run(sys.executable, grammar, "--bytes", "60000", stdout=file)
        run("tok-shard", "--tokenizer", "bytes", "--split-on", "", "--output", f"{work}/data", f"{work}/text")
        pack = ["tok-pack", "--rows", "4", "--length", "64", "--seed", "1", "--limit", str(arguments.steps)]
        with open(f"{work}/stream", "wb") as file:
            run(*pack, f"{work}/data", stdout=file)
        for model, config in (("llama", LLAMA), ("gpt2", GPT2)):
            with open(f"{work}/{model}.json", "w", encoding="utf-8") as file:
                json.dump(config, file)
            for name, (options, gate, torch_gate) in CASES.items():
                directory = f"{work}/{model}-{name.replace(' ', '-')}"
                os.mkdir(directory)
                command = ["train-step", "--quiet", "--run", f"{directory}/run", "--model", f"{work}/{model}.json"]
                command += ["--steps", str(arguments.steps), "--save-every", "1", *options.format(**NAMES[model]).split()]
                command += ["--dump-gradients", f"{directory}/gradients"]
                with open(f"{work}/stream", "rb") as stream:
                    run(*command, stdin=stream)
                worst, worst_torch = replay(directory, arguments.steps, model == "gpt2")
                passed = worst <= gate and (torch_gate is None or worst_torch <= torch_gate)
                failed |= not passed
                against = "torch has none" if torch_gate is None else f"torch {worst_torch:.1e} (gate {torch_gate:.0e})"
                verdict = "passed" if passed else "FAILED"
                print(f"{verdict}  {model:6} {name:20} float64 {worst:.1e} (gate {gate:.0e}), {against}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
