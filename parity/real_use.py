"""Between Millrace and transformers, there and back, as a user would go.

    python -m parity.real_use [--families llama,gpt2,qwen2,qwen3] [--keep DIR]

For each family a random model is made in transformers, disturbed so that no norm is 1 and no bias 0, and saved in many
parts (`max_shard_size`). Then the same ten batches are learned several times:

- **here**: `train-step --from` that directory, a checkpoint after step 5;
- **there**: the model itself goes on in transformers with torch.optim.AdamW and `clip_grad_norm_`;
- **back**: our checkpoint of step 5, parameters and moments, goes on in transformers for steps 6 to 10;
- **again**: what transformers has after step 10 is saved in parts once more, and a last step is made here and there.

Losses must agree step by step within the gates for float32 oracles. Nothing in this file knows how a model works: that
is transformers' part here. Exit status as for `python -m parity`; 66 when transformers is missing.
"""

import argparse
import dataclasses
import os
import shutil
import sys
import tempfile

os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}

from parity import batch_stream, cases, compare, models
from parity.fixture import Fixture

FAMILIES = ("llama", "gpt2", "qwen2", "qwen3")
HALF = 5
RECIPE = ("--learning-rate", "3e-4", "--warmup", "2")


def make_model(torch, transformers, family):
    """A random model whose norms and biases are random as well."""
    config = models.configuration(
        family, V=cases.SMALL["V"], C=64, L=3, H=4, KV=4 if family == "gpt2" else 2, tied=family != "qwen3",
        positions=64, initializer_range=0.05,
    )  # fmt: skip
    del config["bos_token_id"], config["eos_token_id"]
    torch.manual_seed(7)
    kind = transformers.AutoConfig.for_model(**config)
    model = transformers.AutoModelForCausalLM.from_config(kind, dtype=torch.float32, attn_implementation="eager")
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def save_in_parts(model, directory):
    """As transformers does it, in parts of at most 40 kB or one tensor."""
    model.save_pretrained(directory, max_shard_size="40KB")
    parts = [name for name in os.listdir(directory) if name.endswith(".safetensors")]
    if len(parts) < 2:
        raise cases.CaseError(f"'{directory}': transformers wrote {len(parts)} part, expected several")
    return len(parts)


class There:
    """Training in transformers, from a model directory."""

    def __init__(self, torch, transformers, directory, recipe, done=0, moments=None):
        from parity.oracle_torch import TorchOracle, make_optimizer  # here, because torch may be missing

        self.torch, self.recipe, self.done = torch, recipe, done
        self.model = transformers.AutoModelForCausalLM.from_pretrained(
            directory, dtype=torch.float32, attn_implementation="eager"
        ).train()
        parameters = dict(self.model.named_parameters())
        self.optimizer = make_optimizer(parameters, recipe)
        self.factor = TorchOracle(None, recipe).rate_factor
        if moments is not None:
            for name, parameter in parameters.items():
                self.optimizer.state[parameter] = {
                    "step": torch.tensor(float(done)),
                    "exp_avg": torch.tensor(moments[0][name]), "exp_avg_sq": torch.tensor(moments[1][name]),
                }  # fmt: skip

    def step(self, batch):
        """Learns from one batch and returns its loss. Documents are kept apart by a 4-d mask and position ids."""
        torch = self.torch
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * self.factor(self.done)
        document = torch.from_numpy(batch.segments())
        visible = (document[:, :, None] == document[:, None, :]).tril()[:, None]
        mask = torch.zeros(visible.shape).masked_fill(~visible, torch.finfo(torch.float32).min)
        logits = self.model(
            input_ids=torch.from_numpy(batch.inputs), attention_mask=mask,
            position_ids=torch.from_numpy(batch.positions()), use_cache=False,
        ).logits  # fmt: skip
        counts = torch.from_numpy(batch.counts())
        targets = torch.from_numpy(batch.targets)
        losses = torch.nn.functional.cross_entropy(logits[counts], targets[counts], reduction="none")
        loss = losses.double().mean()
        self.optimizer.zero_grad()
        loss.backward()
        if self.recipe.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        self.optimizer.step()
        self.done += 1
        return loss.item()


def train_here(directory, source, stream, steps, *flags):
    cases.run_tool(
        ["train-step", "--quiet", "--run", os.path.join(directory, "run"), "--from", source, "--steps", str(steps),
         "--save-every", str(HALF), "--dump-gradients", os.path.join(directory, "gradients"), *flags],
        stdin=stream,
    )  # fmt: skip
    for name, path in (("config.json", os.path.join(source, "config.json")), ("batches.stream", stream)):
        shutil.copy(path, os.path.join(directory, name))
    return Fixture(directory)


def compare_losses(what, ours, theirs, gates):
    """(worst relative difference over its gate, failure lines)."""
    worst, failures = 0.0, []
    for number, (step, loss) in enumerate(theirs.items(), start=1):
        gate = gates.of("float32", "loss" if number == 1 else "own_loss", number)
        difference = compare.relative(ours[step], loss)
        worst = max(worst, difference / gate)
        if not difference <= gate:
            found = f"losses {ours[step]!r} here, {loss!r} there: {difference:.1e} > {gate:g}"
            failures.append(f"{what}, step {step}: {found}")
    return worst, failures


def run_family(torch, transformers, family, directory, gates):
    case = dataclasses.replace(cases.BY_NAME["gpt2-base"], name=family)
    base = os.path.join(directory, family)
    os.makedirs(base)
    cases.make_stream(case, base)
    stream = os.path.join(base, "batches.stream")
    batches = batch_stream.read(stream).batches
    given = os.path.join(base, "given")
    parts = save_in_parts(make_model(torch, transformers, family), given)

    here = os.path.join(base, "here")
    fixture = train_here(here, given, stream, cases.STEPS, *RECIPE)
    ours = {step: record["train_loss"] for step, record in fixture.metrics.items()}
    there = There(torch, transformers, given, fixture.recipe)
    report = {"there": {step: there.step(batches[step - 1]) for step in range(1, cases.STEPS + 1)}}
    checkpoint = os.path.join(here, "run", f"step-{HALF:08}")
    back = There(torch, transformers, checkpoint, fixture.recipe, HALF, fixture.moments(HALF))
    report["back"] = {step: back.step(batches[step - 1]) for step in range(HALF + 1, cases.STEPS + 1)}

    results = [compare_losses(what, ours, losses, gates) for what, losses in report.items()]
    returned = os.path.join(base, "returned")
    save_in_parts(there.model, returned)
    again = train_here(os.path.join(base, "again"), returned, stream, 2, *RECIPE, "--schedule-steps", "10")
    theirs = There(torch, transformers, returned, again.recipe)
    results.append(
        compare_losses(
            "again", {step: again.metrics[step]["train_loss"] for step in (1, 2)},
            {step: theirs.step(batches[step - 1]) for step in (1, 2)}, gates,
        )  # fmt: skip
    )
    names = ("there", "back", "again")
    margins = " ".join(f"{name} {worst:.2f}" for name, (worst, _) in zip(names, results, strict=True))
    first, last = ours[1], ours[cases.STEPS]
    print(f"real_use: {family}: {parts} parts, loss {first:.4f} to {last:.4f}; worst of its gate: {margins}")
    return [line for _, failures in results for line in failures]


def main():
    parser = argparse.ArgumentParser(prog="parity.real_use")
    parser.add_argument("--families", default=",".join(FAMILIES), help="separated by commas")
    parser.add_argument("--keep", metavar="DIR", help="work in this new directory and leave it there")
    arguments = parser.parse_args()
    families = arguments.families.split(",")
    for family in families:
        if family not in FAMILIES:
            print(f"real_use: '{family}': expected some of {','.join(FAMILIES)}", file=sys.stderr)
            return 64
    try:
        import torch
        import transformers
    except ImportError as error:
        print(f"real_use: not run: {error}", file=sys.stderr)
        return 66
    transformers.utils.logging.set_verbosity_error()
    directory = arguments.keep or tempfile.mkdtemp(prefix="parity-real-")
    failures = []
    try:
        for family in families:
            try:
                failures += run_family(torch, transformers, family, directory, compare.Gates())
            except cases.CaseError as error:
                failures.append(f"{family}: {error}")
    finally:
        if not arguments.keep:
            shutil.rmtree(directory, ignore_errors=True)
    for line in failures:
        print(f"real_use: {line}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
