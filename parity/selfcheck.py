"""The reference oracle against itself: its gradients, written by hand, must be the slopes of its loss.

For every tensor of every family the gradient's product with a random direction is compared with the central difference
of the loss along that direction, in float64. Batches have several documents a row, padding and a loss mask.
"""

import sys

import numpy

from parity import models
from parity.batch_stream import Batch
from parity.fixture import Recipe, Shape
from parity.oracle_numpy import NumpyOracle

GATE = 1e-7
SIZE = {"V": 23, "C": 12, "L": 2, "H": 4, "I": 20, "positions": 16}
CONFIGURATIONS = {
    "llama": models.configuration("llama", **SIZE, KV=2, d=6),
    "llama, biases, untied": models.configuration(
        "llama", **SIZE, d=4, attention_bias=True, mlp_bias=True, tied=False
    ),
    "qwen2": models.configuration("qwen2", **SIZE, KV=1, d=4),
    "qwen3": models.configuration("qwen3", **SIZE, KV=2, d=8, tied=False),
    "gpt2": models.configuration("gpt2", **SIZE),
    "gpt2, untied": models.configuration("gpt2", **SIZE, tied=False),
}
RECIPE = Recipe(1e-3, 1e-4, 2, 10, 0.1, 0.9, 0.95, 1e-8, 1.0, 1, 0)


def batch(vocabulary, seed):
    """(3, 10) with documents of several lengths, padding and a loss mask."""
    random = numpy.random.default_rng(seed)
    ends = [[10], [1, 4, 9], [3, 7]]
    inputs, targets = random.integers(0, vocabulary, (2, 3, 10))
    return Batch(0, "", inputs, targets, ends, random.random((3, 10)) < 0.7)


def worst_slope(config, seed=1):
    """The worst tensor's error, relative to the largest slope among the tensors, and the tensor's name."""
    oracle = NumpyOracle(Shape.of(config), RECIPE)
    random = numpy.random.default_rng(seed)
    parameters = {n: a.astype(numpy.float64) for n, a in models.random_parameters(config, seed).items()}
    data = batch(config["vocab_size"], seed)
    oracle.parameters = parameters
    oracle.loss_and_gradients(data)
    gradients = oracle.gradients
    errors = {}
    for name, values in parameters.items():
        direction = random.standard_normal(values.shape)
        direction /= numpy.linalg.norm(direction)
        losses = []
        for step in (1e-4, -1e-4, 2e-4, -2e-4):
            oracle.parameters = parameters | {name: values + step * direction}
            losses.append(oracle.loss_and_gradients(data))
        # Two central differences, extrapolated to step 0 (Richardson).
        near, far = (losses[0] - losses[1]) / 2e-4, (losses[2] - losses[3]) / 4e-4
        slope = (4 * near - far) / 3
        errors[name] = abs(slope - (gradients[name] * direction).sum()) / max(numpy.linalg.norm(gradients[name]), 1e-3)
    worst = max(errors, key=errors.get)
    return errors[worst], worst


def main():
    failed = False
    for label, config in CONFIGURATIONS.items():
        error, tensor = worst_slope(config)
        failed |= not error <= GATE
        print(f"{label}: worst slope {error:.1e} of {GATE:g} ({tensor})")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
