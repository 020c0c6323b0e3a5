"""What a case has on disk, opened: configuration, recipe, batches, and what `train-step` wrote after every step.

Everything that the oracles share is in this file and is reading, not arithmetic: names, shapes and hyperparameters. The
models, gradients, schedules and optimizers are written three times over, once an oracle.
"""

import dataclasses
import hashlib
import json
import os

import numpy
from safetensors.numpy import load_file

from parity import batch_stream


@dataclasses.dataclass(frozen=True)
class Shape:
    """A Hugging Face config.json in mathematics' letters: V ids, C wide, I in the feed-forward block, L layers, H heads
    that are d wide, KV heads of keys and values."""

    family: str
    V: int
    C: int
    I: int  # noqa: E741
    L: int
    H: int
    KV: int
    d: int
    epsilon: float
    theta: float | None
    tied: bool

    @staticmethod
    def of(config):
        family = config["model_type"]
        if family == "gpt2":
            width, heads = config["n_embd"], config["n_head"]
            return Shape(
                family, config["vocab_size"], width, config.get("n_inner") or 4 * width, config["n_layer"], heads,
                heads, width // heads, config.get("layer_norm_epsilon", 1e-5), None,
                config.get("tie_word_embeddings", True),
            )  # fmt: skip
        if family not in ("llama", "qwen2", "qwen3"):
            raise ValueError(f"model_type '{family}'")
        width, heads = config["hidden_size"], config["num_attention_heads"]
        theta = (config.get("rope_parameters") or config)["rope_theta"]
        return Shape(
            family, config["vocab_size"], width, config["intermediate_size"], config["num_hidden_layers"], heads,
            config.get("num_key_value_heads") or heads, config.get("head_dim") or width // heads,
            config["rms_norm_eps"], theta, config.get("tie_word_embeddings", False),
        )  # fmt: skip


@dataclasses.dataclass
class Recipe:
    """`recipe` of state.json. `clip` is None when nothing is clipped."""

    learning_rate: float
    minimum_learning_rate: float
    warmup_steps: int
    schedule_steps: int
    weight_decay: float
    beta1: float
    beta2: float
    epsilon: float
    clip: float | None
    lanes: int
    seed: int
    precision: str = "fp32"  # of the operands of products with weights
    schedule: str = "cosine"
    decay_steps: int = 0
    restart_every: int = 0
    optimizer: str = "adamw"

    def __post_init__(self):
        if self.optimizer != "adamw":
            raise ValueError(f"the oracles know adamw, not {self.optimizer}: see Tests/python/check_optimizers.py")
        # The other shapes are held against hand-made figures in Tests/OptimizersTests; the oracles write this one alone.
        if (self.schedule, self.restart_every) != ("cosine", 0):
            raise ValueError(f"the oracles know a cosine without restarts, not {self.schedule}")


@dataclasses.dataclass
class Step:
    """One step as someone computed it. `gradients` are those before clipping, of the mean over the step's targets;
    `parameters`, `m` and `v` are after the update. Arrays by name; `m` and `v` may be None."""

    step: int
    loss: float
    norm: float
    learning_rate: float
    gradients: dict
    parameters: dict
    m: dict | None = None
    v: dict | None = None


def decays(array):
    """Whether weight decay applies: to matrices, embeddings and head included, not to norms and biases."""
    return array.ndim >= 2


def global_norm(gradients):
    """sqrt of the sum of squares over all tensors, in float64 (numpy adds pairwise)."""
    return float(numpy.sqrt(sum(numpy.square(array, dtype=numpy.float64).sum() for array in gradients.values())))


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Fixture:
    """A case's directory: config.json, batches.stream, run/ and gradients/."""

    def __init__(self, directory):
        self.directory = directory
        self.name = os.path.basename(directory)
        with open(os.path.join(directory, "config.json"), encoding="utf-8") as file:
            self.shape = Shape.of(json.load(file))
        self.stream = batch_stream.read(os.path.join(directory, "batches.stream"))
        with open(os.path.join(self._checkpoint(0), "state.json"), encoding="utf-8") as file:
            self.recipe = Recipe(**json.load(file)["recipe"])
        self.metrics = read_metrics(os.path.join(directory, "run"))

    def _checkpoint(self, step):
        return os.path.join(self.directory, "run", f"step-{step:08}")

    @property
    def steps(self):
        return max(self.metrics, default=0)

    def batch(self, step):
        """The batch of step 1, 2, …"""
        return self.stream.batches[step - 1]

    def initial(self):
        """Parameters before the first step, float32, by name."""
        return load_file(os.path.join(self._checkpoint(0), "model.safetensors"))

    def moments(self, step):
        """m and v after `step`; before the first step they are zero and may be missing."""
        path = os.path.join(self._checkpoint(step), "optimizer.safetensors")
        if step == 0 and not os.path.exists(path):
            zeros = {name: numpy.zeros_like(array) for name, array in self.initial().items()}
            return zeros, zeros
        tensors = load_file(path)
        return tuple(
            {name[2:]: array for name, array in tensors.items() if name.startswith(prefix)} for prefix in ("m.", "v.")
        )

    def ours(self, step):
        """What `train-step` computed in `step`."""
        path = os.path.join(self.directory, "gradients", f"step-{step:08}.safetensors")
        gradients = load_file(path)
        metadata = read_metadata(path)
        record = self.metrics[step]
        m, v = self.moments(step)
        parameters = load_file(os.path.join(self._checkpoint(step), "model.safetensors"))
        for what, tensors in (("gradients", gradients), ("m", m), ("v", v)):
            if {name: a.shape for name, a in tensors.items()} != {name: a.shape for name, a in parameters.items()}:
                raise ValueError(f"'{path}': names or shapes of {what} are not those of the parameters")
        # metrics.jsonl and the dump must say the same.
        if (float(metadata["loss"]), float(metadata["gradient_norm"])) != (
            record["train_loss"], record["gradient_norm"],
        ):  # fmt: skip
            raise ValueError(f"'{path}': loss or norm is not that of metrics.jsonl")
        return Step(
            step, record["train_loss"], record["gradient_norm"], record["learning_rate"], gradients, parameters, m, v
        )

    def digests(self):
        """SHA-256 of what the oracles were given."""
        return {
            "config": sha256(os.path.join(self.directory, "config.json")),
            "stream": self.stream.sha256,
            "initial": sha256(os.path.join(self._checkpoint(0), "model.safetensors")),
        }


def read_metrics(run):
    """{step: record} of the steps in a run's metrics.jsonl."""
    metrics = {}
    with open(os.path.join(run, "metrics.jsonl"), encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            if "train_loss" in record:
                metrics[record["step"]] = record
    return metrics


def read_metadata(path):
    """`__metadata__` of a safetensors file."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        return json.loads(file.read(size)).get("__metadata__", {})
