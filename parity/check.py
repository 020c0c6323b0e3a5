"""One case, made, compared with every oracle, and reduced to rows.

Oracles and `train-step` walk side by side, a step at a time, so that no more than one step of each is in memory. The
NumPy oracle is the reference of all: ours is held against every oracle, and the float64 oracles against NumPy's, so
that the yardsticks are measured too. What a float32 framework itself is off from float64 is reported without a gate, to
compare our own figure with.

A case in bf16 has oracles that round the same operands, and gates of its own; AdamW alone is float32 there too and has
the gates of float32. Beside that it is held against the NumPy oracle that rounds nothing.
"""

import dataclasses
import importlib
import os
import shutil
import time

import numpy
from safetensors.numpy import load_file

from parity import cases, compare
from parity.compare import Row
from parity.fixture import Fixture, global_norm
from parity.oracle_numpy import NumpyOracle

OURS, FILES = "millrace", "the case's files"
REFERENCE, UNROUNDED = "numpy float64", "numpy float64, nothing rounded"
# Behind the name of an oracle that rounds operands; and a run of ours to compare one in bf16 with.
IN_BF16, OURS_IN_FP32 = " bf16", "millrace fp32"


@dataclasses.dataclass
class Result:
    """What is left of a case when its directory is gone."""

    case: str
    about: str
    digests: dict
    rows: list
    seconds: dict
    mutations: list = dataclasses.field(default_factory=list)


def load_frameworks(names):
    """({name: module}, {name: why not}) of "torch" and "jax"."""
    loaded, missing = {}, {}
    for name in names:
        try:
            loaded[name] = importlib.import_module(f"parity.oracle_{name}")
        except ImportError as error:
            missing[name] = str(error).splitlines()[0]
    return loaded, missing


class Walker:
    """An oracle on its own way from the initial parameters, and a second instance of it that is asked for gradients at
    ours."""

    def __init__(self, make, fixture, initial):
        self.label = f"{make().name} {make().precision}" + (IN_BF16 if fixture.recipe.precision == "bf16" else "")
        self.steps = make().run(initial, (fixture.batch(step) for step in range(1, fixture.steps + 1)))
        self.asked = make()
        self.seconds = 0.0

    def timed(self, action):
        began = time.perf_counter()
        result = action()
        self.seconds += time.perf_counter() - began
        return result


def kind_of(subject, reference):
    """Which column of gates.json holds."""
    fixed = {FILES: "exact", UNROUNDED: "bf16-unrounded", OURS_IN_FP32: "bf16-runs"}
    if reference in fixed:
        return fixed[reference]
    rounds = reference.endswith(IN_BF16)
    subject, reference = subject.removesuffix(IN_BF16), reference.removesuffix(IN_BF16)
    if subject == OURS:
        kind = "float64" if reference.endswith("float64") else "float32"
    else:
        kind = "oracles" if subject.endswith("float64") else "frameworks"
    return f"bf16-{kind}" if rounds else kind


def walkers(fixture, frameworks, initial, precisions):
    makers = [lambda: NumpyOracle(fixture.shape, fixture.recipe)]
    for name, module in frameworks.items():
        kind = getattr(module, f"{name.capitalize()}Oracle")
        for precision in precisions:
            if (name, precision, fixture.recipe.precision) == ("jax", "float32", "bf16"):
                continue  # PyTorch's float32 is enough there, and compiling is what takes JAX's time
            makers.append(lambda kind=kind, p=precision: kind(fixture.shape, fixture.recipe, p))
    return [Walker(make, fixture, initial) for make in makers]


def compare_case(fixture, frameworks, gates, steps, precisions=("float64", "float32"), chaotic=False):
    """Rows of the steps in `steps`, and each oracle's seconds. `chaotic`: what rounds is not held against ours."""
    rows, initial = [], fixture.initial()
    peak = fixture.recipe.learning_rate
    walking = walkers(fixture, frameworks, initial, precisions)
    before = None
    unrounded = None
    if fixture.recipe.precision == "bf16":
        unrounded = NumpyOracle(fixture.shape, dataclasses.replace(fixture.recipe, precision="fp32"))

    def add(step, subject, reference, found):
        for quantity, (measured, tensor) in found.items():
            gate = gates.of(kind_of(subject, reference), quantity, step)
            rows.append(Row(fixture.name, step, subject, reference, quantity, measured, tensor, gate))

    for step in range(1, max(steps) + 1):
        walked = [walker.timed(lambda w=walker: next(w.steps)) for walker in walking]
        if step not in steps and step + 1 not in steps:
            continue
        ours = fixture.ours(step)
        if step in steps:
            at = before.parameters if before else initial
            for walker, theirs in zip(walking, walked, strict=True):
                if chaotic:
                    break
                add(step, OURS, walker.label, compare.trajectory_rows(ours, theirs, initial, peak))
                loss, gradients = theirs.loss, theirs.gradients
                if step > 1:
                    loss, gradients = walker.timed(lambda w=walker: w.asked.evaluate(at, fixture.batch(step)))
                rows_here = compare.same_parameter_rows(ours.loss, ours.norm, ours.gradients, loss, gradients)
                if unrounded:
                    rows_here |= {"gradient_all": compare.rounding_rows(ours, loss, gradients)["gradient_all"]}
                add(step, OURS, walker.label, rows_here)
                if walker is walking[0]:
                    reference = loss, gradients
                    continue
                first = walking[0].label
                add(step, walker.label, first, compare.trajectory_rows(theirs, walked[0], initial, peak))
                rows_here = compare.same_parameter_rows(loss, global_norm(gradients), gradients, *reference)
                add(step, walker.label, first, rows_here)
            if unrounded:
                loss, gradients = unrounded.evaluate(at, fixture.batch(step))
                add(step, OURS, UNROUNDED, compare.rounding_rows(ours, loss, gradients))
            add_adamw(add, fixture, frameworks, step, before, ours, walked[0].learning_rate)
            dumped = compare.relative(ours.norm, global_norm(ours.gradients))
            add(
                step, OURS, FILES,
                {"targets": (float(count_difference(fixture, step)), ""), "dumped_norm": (dumped, "")},
            )  # fmt: skip
        before = ours
    return rows, {walker.label: round(walker.seconds, 2) for walker in walking}


def count_difference(fixture, step):
    """Targets that train-step says it learned from up to this step, less those that the stream has."""
    expected = sum(int(fixture.batch(number).counts().sum()) for number in range(1, step + 1))
    return abs(fixture.metrics[step]["tokens"] - expected)


def add_adamw(add, fixture, frameworks, step, before, ours, rate):
    """AdamW alone: from our stored state and our dumped gradient to our stored state, by the formula in float64."""
    recipe = fixture.recipe
    p = before.parameters if before else fixture.initial()
    m, v = (before.m, before.v) if before else fixture.moments(0)
    gradients = compare.clipped(ours.gradients, ours.norm, recipe)
    exact = ({}, {}, {})
    for name, array in p.items():
        result = compare.adamw_formula(
            *(a.astype(numpy.float64) for a in (array, gradients[name], m[name], v[name])), step, rate, recipe
        )
        for place, value in zip(exact, result, strict=True):
            place[name] = value
    found = (ours.parameters, ours.m, ours.v)

    units = compare.adamw_units((p, m, v), exact, gradients, step, rate, recipe)
    add(step, OURS, REFERENCE, compare.adamw_rows(units, exact, found))
    for name, module in frameworks.items():
        for precision in ("float64", "float32"):
            theirs = module.adamw_alone(p, gradients, m, v, step - 1, rate, recipe, precision)
            label = f"{name} {precision}"
            if precision == "float64":
                add(step, OURS, label, compare.adamw_rows(units, theirs, found))
            add(step, label, REFERENCE, compare.adamw_rows(units, exact, theirs))


def check_initial(fixture, gates):
    """The run must begin at the very parameters that the case's source holds, whatever prefix their names have."""
    path = os.path.join(fixture.directory, "source", "model.safetensors")
    if not os.path.exists(path):
        return []
    given, begun = load_file(path), fixture.initial()
    if fixture.shape.family == "gpt2":
        given = {
            name if name.startswith(("transformer.", "lm_head.")) else f"transformer.{name}": array
            for name, array in given.items()
        }
    different = sum(int((array != given.get(name, numpy.nan)).sum()) for name, array in begun.items())
    different += len(given.keys() - begun.keys())
    return [Row(fixture.name, 0, OURS, FILES, "initial", float(different), "", gates.of("exact", "initial", 0))]


def run_case(case, parent, frameworks, gates, steps, mutations=(), keep=False):
    """Makes the case below `parent`, compares, tries the mutations on it, and removes it unless `keep`."""
    marks = [time.perf_counter()]
    directory = cases.make(case, parent)
    marks.append(time.perf_counter())
    fixture = Fixture(directory)
    rows, seconds = compare_case(fixture, {} if case.chaotic else frameworks, gates, steps, chaotic=case.chaotic)
    rows = check_initial(fixture, gates) + rows
    marks.append(time.perf_counter())
    tried = [mutation.attempt(fixture, gates) for mutation in mutations]
    marks.append(time.perf_counter())
    result = Result(case.name, case.about, fixture.digests(), rows, seconds, tried)
    for name, begin, end in zip(("making", "comparing", "mutations"), marks, marks[1:], strict=False):
        result.seconds[name] = round(end - begin, 2)
    if not keep:
        shutil.rmtree(directory)
    return result
