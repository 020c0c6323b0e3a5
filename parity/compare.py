"""The rows of the report: two accounts of the same step, in numbers that have a gate.

A row is one quantity of one step, the worst over the model's tensors, with the tensor that was worst. Which gate holds
depends on whom `train-step` is compared with: a float64 oracle shows our rounding alone, a float32 one adds its own.

**Same parameters or own way.** Loss, norm and gradients are compared at the same parameters: the oracle is given ours
of the step before. Beside that the oracle walks from the initial parameters by itself, and its losses, norms,
gradients, moments and parameters are compared with ours. Adam divides by the size of the gradient, so where a gradient
is nearly zero its rounding error becomes a part of a step, and from the second step on two correct programs differ by
more than rounding. At step 1 both are the same thing.

**GPT-2's key bias.** It adds the same number to all scores of a query, which softmax takes away again: its gradient is
zero in theory and pure rounding in practice, and Adam makes steps of that. It has a row of its own and is left out of
the others; so `c_attn.bias` is looked at in its three parts.

**bf16.** Rounding to 8 bits is a step function. Two programs whose numbers differ by 1e-7, as two orders of fp32 sums
do, round about 1 operand in 50,000 to different sides, and each of those then differs by 1/200 or so. A product of
them is off by 1/200 times the root of that share, 2e-5; then 1 of 200 operands of the next one falls to different
sides; and so on: with two layers the gradients of two correct programs differ by a fifth of what bf16 itself costs
(measured, PyTorch's float32 as well), too much to see a bug. Therefore the matrices that write into the residual
stream are 2^-13 of the usual size in the cases that are held against oracles that round, so that few products matter
to one another. `gradient_all`, all tensors together, is the sharp row; single tensors are held loosely. Cases of the
usual size are held against the oracle that rounds nothing.
"""

import dataclasses
import json
import math
import os

import numpy

from parity.fixture import decays, global_norm

GATES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "gates.json")

TITLES = {
    "loss": "loss, relative",
    "norm": "global gradient norm, relative",
    "gradient_l2": "each tensor's gradient, relative L2",
    "gradient_cosine": "each tensor's gradient, 1 - cosine",
    "gradient_max": "each tensor's gradient, max abs difference / max abs reference",
    "key_bias": "gradient of GPT-2's key bias, max abs / max abs of all others",
    "gradient_all": "gradient of all parameters together, relative L2",
    "learning_rate": "learning rate, relative",
    "own_loss": "loss on the oracle's own way, relative",
    "own_norm": "norm on its own way, relative",
    "own_gradient_l2": "each tensor's gradient on its own way, relative L2",
    "m_l2": "first moment, relative L2",
    "v_l2": "second moment, relative L2",
    "update_l2": "parameters less initial ones, relative L2",
    "parameter_max": "parameter, max abs difference / peak learning rate",
    "adamw_p": "AdamW alone, parameter, ulp",
    "adamw_update": "AdamW alone, parameter smaller than 8 updates, ulp",
    "adamw_m": "AdamW alone, first moment, ulp",
    "adamw_v": "AdamW alone, second moment, ulp",
    "initial": "initial parameters that differ from those given",
    "targets": "targets counted up to a step, difference",
    "curve": "mean loss of 50 steps after warm-up, relative",
    "bits": "runs that left other bytes than the first",
    "dumped_norm": "reported norm against the norm of the dumped gradients, relative",
}


@dataclasses.dataclass
class Row:
    case: str
    step: int
    subject: str
    reference: str
    quantity: str
    measured: float
    worst: str = ""
    gate: float | None = None

    @property
    def passed(self):
        """True, False, or None where nothing is asked. NaN never passes."""
        return None if self.gate is None else bool(self.measured <= self.gate)

    @property
    def margin(self):
        """measured / gate: above 1 fails."""
        if self.gate is None:
            return None
        return self.measured / self.gate if self.gate > 0 else float("inf") if self.measured else 0.0


class Gates:
    """gates.json: for each kind of comparison, each quantity's gate. `later`, where given, holds after step 1."""

    def __init__(self, path=GATES):
        with open(path, encoding="utf-8") as file:
            self.table = json.load(file)

    def of(self, kind, quantity, step):
        entry = self.table.get(kind, {}).get(quantity)
        if entry is None:
            return None
        return entry["gate"] if step <= 1 else entry.get("later", entry["gate"])


def parts(tensors):
    """(name, array) of all tensors but GPT-2's key biases, in order of name."""
    for name, array in sorted(tensors.items()):
        if name.endswith("attn.c_attn.bias"):
            query, _, value = numpy.split(array, 3)
            yield name + " (query)", query
            yield name + " (value)", value
        else:
            yield name, array


def key_biases(tensors):
    for name, array in sorted(tensors.items()):
        if name.endswith("attn.c_attn.bias"):
            yield name + " (key)", numpy.split(array, 3)[1]


def relative(measured, reference):
    return abs(measured - reference) / abs(reference) if reference else abs(measured)


def worst(values):
    """The largest of (value, name) pairs; NaN is larger than everything."""
    return max(values, key=lambda pair: numpy.inf if numpy.isnan(pair[0]) else pair[0])


def _size(array):
    """Largest absolute value."""
    return max(float(array.max()), -float(array.min()))


def tensor_rows(measured, reference, quantities):
    """Relative L2, 1 - cosine and max abs over the tensors: {quantity: (worst value, tensor)}."""
    found = {quantity: [] for quantity in quantities}
    for (name, a), (_, b) in zip(parts(measured), parts(reference), strict=True):
        a, b = (array.astype(numpy.float64, copy=False).reshape(-1) for array in (a, b))
        difference = a - b
        square, a_norm, b_norm = difference @ difference, math.sqrt(a @ a), math.sqrt(b @ b)
        if b_norm == 0:
            # Nothing to be relative to: exactly zero is asked for.
            values = dict.fromkeys(quantities, 0.0 if square == 0 else math.inf)
        else:
            # |a/|a| - b/|b||^2 / 2 is 1 - cosine without its cancellation.
            apart = (square - (a_norm - b_norm) ** 2) / (2 * (a_norm or 1) * b_norm)
            values = {"l2": math.sqrt(square) / b_norm, "cosine": max(apart, 0.0) if apart == apart else apart}
            if "max" in quantities:
                values["max"] = _size(difference) / _size(b)
        for quantity in quantities:
            found[quantity].append((values[quantity], name))
    return {quantity: worst(values) for quantity, values in found.items()}


def same_parameter_rows(loss, norm, gradients, reference_loss, reference):
    """{quantity: (value, tensor)}; `gradients` and `reference` are tensors by name."""
    rows = {
        "loss": (relative(loss, reference_loss), ""),
        "norm": (relative(norm, global_norm(reference)), ""),
    }
    for kind, value in tensor_rows(gradients, reference, ("l2", "cosine", "max")).items():
        rows[f"gradient_{kind}"] = value
    keys = list(key_biases(gradients))
    if keys:
        largest = max(_size(array) for _, array in parts(reference))
        rows["key_bias"] = worst((_size(array) / largest, name) for name, array in keys)
    return rows


def rounding_rows(ours, loss, gradients):
    """How far a step in bf16 is from one that rounds nothing: {quantity: (value, tensor)}."""
    difference = {name: array - gradients[name] for name, array in ours.gradients.items()}
    apart = global_norm(difference) / global_norm(gradients)
    return {"loss": (relative(ours.loss, loss), ""), "gradient_all": (apart, "")}


def trajectory_rows(measured, reference, initial, peak):
    """Two Steps from the same beginning. `initial` are the parameters at the beginning, `peak` the learning rate's."""
    rows = {
        "learning_rate": (relative(measured.learning_rate, reference.learning_rate), ""),
        "m_l2": tensor_rows(measured.m, reference.m, ("l2",))["l2"],
        "v_l2": tensor_rows(measured.v, reference.v, ("l2",))["l2"],
    }
    if measured.step > 1:
        rows["own_loss"] = relative(measured.loss, reference.loss), ""
        rows["own_norm"] = relative(measured.norm, reference.norm), ""
        rows["own_gradient_l2"] = tensor_rows(measured.gradients, reference.gradients, ("l2",))["l2"]
    moved = [
        {name: array.astype(numpy.float64) - initial[name] for name, array in step.parameters.items()}
        for step in (measured, reference)
    ]
    rows["update_l2"] = tensor_rows(*moved, ("l2",))["l2"]
    rows["parameter_max"] = worst(
        (_size(a - b) / peak, name)
        for (name, a), (_, b) in zip(parts(moved[0]), parts(moved[1]), strict=True)
    )
    return rows


def ulp(scale):
    """The distance between neighbouring float32 numbers at `scale`."""
    return numpy.spacing(numpy.abs(scale).astype(numpy.float32)).astype(numpy.float64)


def adamw_formula(p, g, m, v, t, rate, recipe):
    """One update in float64, from float32 state; g is clipped already."""
    m_new = recipe.beta1 * m + (1 - recipe.beta1) * g
    v_new = recipe.beta2 * v + (1 - recipe.beta2) * g**2
    decay = recipe.weight_decay if decays(p) else 0.0
    m_hat, v_hat = m_new / (1 - recipe.beta1**t), v_new / (1 - recipe.beta2**t)
    return p - rate * decay * p - rate * m_hat / (numpy.sqrt(v_hat) + recipe.epsilon), m_new, v_new


def clipped(gradients, norm, recipe):
    """What AdamW is given: the gradient times the clip factor, each rounded to float32 (docs/numerics.md). Clipping is
    not AdamW's business, so its two roundings are part of what is injected."""
    factor = recipe.clip / norm if recipe.clip is not None and norm > recipe.clip else 1.0
    return {name: array * numpy.float32(factor) for name, array in gradients.items()}


def adamw_units(before, after, gradients, t, rate, recipe):
    """What an ulp is for each number of an update, before it (p, m, v) and exactly after: {name: (p, small, m, v)}.

    A result that cancels has a small last place while its terms were rounded at theirs, so no order of float32
    operations is right to an ulp of the result. The unit is the ulp of the largest term that went into it:

    - v: of v itself; its terms have one sign.
    - m: M = max(|m before|, |m after|, |(1 - beta1) g|).
    - p: the update's terms have size S = rate / (1 - beta1^t) M / (sqrt(v hat) + epsilon), the others T =
      max(|p before|, |p after|). Where S <= T / 8 (`small`, nearly everywhere) the unit is ulp(T) and the row
      `adamw_p`. Elsewhere p is near 0 and the result *is* the update, a quotient behind seven roundings: the row
      `adamw_update`, unit ulp(max(T, S)).
    """
    units = {}
    for name, p1 in after[0].items():
        (p0, m0), m1, v1 = (tensors[name] for tensors in before[:2]), after[1][name], after[2][name]
        m_scale = numpy.maximum(numpy.maximum(abs(m0), abs(m1)), (1 - recipe.beta1) * abs(gradients[name]))
        root = numpy.sqrt(v1 / (1 - recipe.beta2**t)) + recipe.epsilon
        s, size = rate / (1 - recipe.beta1**t) * m_scale / root, numpy.maximum(abs(p0), abs(p1))
        units[name] = ulp(numpy.maximum(size, s)), s <= size / 8, ulp(m_scale), ulp(v1)
    return units


def adamw_rows(units, expected, found):
    """Units in the last place between two results of one update, (p, m, v) each by name: {quantity: (value, tensor)}.
    """
    rows = {quantity: [] for quantity in ("adamw_p", "adamw_update", "adamw_m", "adamw_v")}
    for name, (p_unit, small, m_unit, v_unit) in units.items():
        p, m, v = (abs(b[name] - a[name]) for a, b in zip(expected, found, strict=True))
        p /= p_unit
        rows["adamw_p"].append((float(p.max(where=small, initial=0)), name))
        rows["adamw_update"].append((float(p.max(where=~small, initial=0)), name))
        rows["adamw_m"].append((float((m / m_unit).max()), name))
        rows["adamw_v"].append((float((v / v_unit).max()), name))
    return {quantity: worst(values) for quantity, values in rows.items()}
