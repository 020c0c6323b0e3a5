"""Gates from measurements.

    python -m parity.freeze REPORT…          prints what the gates would be
    python -m parity.freeze --write REPORT…  writes them to gates.json

REPORT is a parity-report.json, made without --quick. The worst of all reports counts. A gate is the smallest of 1, 2,
3, 5, 7 times a power of ten that is 5 times the worst measured, so 5 to 10 times; but never above the limits below,
which are what careful implementations reach, and not below the floors, which are what the arithmetic of another machine
may change. Where a limit was too tight for a reason, there is another one or none, and REASONS says why. bf16 has no
limits, only measurements.
"""

import argparse
import json
import math
import sys

from parity.compare import GATES, TITLES
from parity.report import KINDS, worst_rows

# What three C builds and NumPy reach in float32 against float64, at the sizes of the cases -base and -large.
LIMITS = {
    "loss": 1e-7, "norm": 5e-7, "gradient_l2": 5e-6, "gradient_cosine": 1e-11, "gradient_max": 1e-5, "key_bias": 1e-8,
    "own_loss": 1e-7, "update_l2": 1e-3, "adamw_p": 2, "adamw_m": 2, "adamw_v": 2, "initial": 0, "targets": 0,
    # With a reason below.
    "adamw_update": 8,
}  # fmt: skip
# Gates that are asked for, whatever is measured.
FIXED = {"curve": 5e-3, "bits": 0}
# Of the comparison of oracles, and of learning rates: what another processor's or library's last digits may change.
FLOORS = {"gradient_cosine": 1e-24, "adamw_p": 1e-8, "adamw_update": 1e-8, "adamw_m": 1e-8, "adamw_v": 1e-8}
REASONS = {
    "parameter_max": "not 0.05: a maximum over up to 6 million elements. Adam moves an element by about the learning "
    "rate whatever its gradient's size, so where a gradient is nearly zero its rounding error decides a part of the "
    "step; the chance of one so small grows with the number of elements. PyTorch's and JAX's own float32 is as far off "
    "(see the report's last table). update_l2 is the sharp row.",
    "adamw_update": "not 2: where p is near 0 the new p is the update itself, a quotient behind seven roundings (two "
    "factors, their products, root, sum, division), each half an ulp. PyTorch's and optax's own float32 is as far off.",
    "own_norm": "above norm: after the first step these are norms at parameters that differ, see parameter_max. "
    "PyTorch's and JAX's own float32 is as far off.",
    "own_gradient_l2": "above gradient_l2 for the same reason.",
    "m_l2": "above gradient_l2 for the same reason.",
    "v_l2": "above gradient_l2 for the same reason, and squared.",
    "learning_rate": "the product rounds the cosine to 40 bits.",
}
BF16_REASONS = {
    "loss": "operands that two correct programs round to different sides (compare.py); so it is with all rows here. "
    "PyTorch's own float32 that rounds the same operands is as far off (see the report).",
    "gradient_l2": "queries' and keys' matrices are behind four products. gradient_all is the sharp row.",
    "gradient_all": "the mutations, a rounding left out or one too many, are 9e-4 and more.",
    "key_bias": "no product with a weight is in it, so the gate is that of fp32.",
    "update_l2": "where a gradient is nearly zero, an operand rounded to the other side decides Adam's first step.",
    "parameter_max": "above update_l2 for the same reason: a maximum over all elements, up to the step from -1 to 1.",
    "own_norm": "above norm: after the first step these are norms at parameters that differ, see parameter_max.",
    "own_loss": "above loss for the same reason.",
    "own_gradient_l2": "above gradient_l2 for the same reason.",
    "m_l2": "above gradient_l2 for the same reason.",
    "v_l2": "above gradient_l2 for the same reason, and squared.",
    "learning_rate": REASONS["learning_rate"],
    "curve": "asked for: half a percent in every window.",
}
UNROUNDED_REASONS = {
    "loss": "a sanity limit: what bf16 costs one step.",
    "gradient_all": "a sanity limit: operands of 8 bits are off by up to 2^-8, and some ten products are in a row.",
}


def reasons(kind):
    if kind.endswith("oracles"):
        return {}
    if kind == "bf16-unrounded":
        return UNROUNDED_REASONS
    return BF16_REASONS if kind.startswith("bf16") else REASONS


def gate(kind, quantity, measured):
    if quantity in FIXED:
        return FIXED[quantity]
    limit, floor = LIMITS.get(quantity, math.inf), 0.0
    if kind.startswith("bf16"):
        limit = math.inf
    if kind.endswith("oracles"):
        limit, floor = math.inf, FLOORS.get(quantity, 1e-12)
    elif quantity == "key_bias":
        floor = LIMITS[quantity]
    elif quantity in ("learning_rate", "dumped_norm"):
        floor = 1e-12
    wanted = 0.0
    if measured > 0:
        power = 10.0 ** math.floor(math.log10(5 * measured))
        steps = [factor * power for factor in (1, 2, 3, 5, 7, 10)]
        wanted = next(step for step in steps if step >= 5 * measured * (1 - 1e-9))
    return float(f"{min(limit, max(wanted, floor)):.6g}")


def table(reports):
    worst = {}
    for report in reports:
        for key, row in worst_rows(report["rows"]).items():
            if row["measured"] is None:
                raise ValueError(f"{row['case']}, {row['quantity']}: not finite")
            worst[key] = max(row["measured"], worst.get(key, 0.0))
    result = {}
    for kind in KINDS:
        if kind.endswith("frameworks"):
            continue
        entries = {}
        for quantity in TITLES:
            first, later = worst.get((kind, quantity, "step 1")), worst.get((kind, quantity, "later"))
            if first is None and later is None:
                continue
            known = [value for value in (first, later) if value is not None]
            entry = {"gate": gate(kind, quantity, known[0])}
            if len(known) == 2 and gate(kind, quantity, later) != entry["gate"]:
                entry["later"] = max(entry["gate"], gate(kind, quantity, later))
                if entry["later"] == entry["gate"]:
                    del entry["later"]
            entry["measured"] = [float(f"{value:.2g}") for value in known]
            if quantity in reasons(kind):
                entry["reason"] = reasons(kind)[quantity]
            entries[quantity] = entry
        result[kind] = entries
    return result


def markdown(gates):
    """The tables of README.md."""
    for kind, entries in gates.items():
        yield f"**{KINDS[kind]}**"
        yield ""
        yield "| quantity | measured: step 1, later | gate: step 1, later |"
        yield "|---|---|---|"
        for quantity, entry in entries.items():
            bounds = [f"{entry[key]:g}" for key in ("gate", "later") if key in entry]
            yield f"| {TITLES[quantity]} | {', '.join(f'{x:g}' for x in entry['measured'])} | {', '.join(bounds)} |"
        yield ""


def main():
    parser = argparse.ArgumentParser(prog="parity.freeze")
    parser.add_argument("--write", action="store_true", help="write gates.json")
    parser.add_argument("reports", nargs="+", metavar="REPORT")
    arguments = parser.parse_args()
    reports = []
    for path in arguments.reports:
        try:
            with open(path, encoding="utf-8") as file:
                reports.append(json.load(file))
        except (OSError, ValueError) as error:
            print(f"freeze: '{path}': {error}", file=sys.stderr)
            return 66
    gates = table(reports)
    print("\n".join(markdown(gates)))
    if arguments.write:
        kinds = []
        for kind, entries in gates.items():
            lines = ",\n".join(f"  {json.dumps(quantity)}: {json.dumps(entry)}" for quantity, entry in entries.items())
            kinds.append(f" {json.dumps(kind)}: {{\n{lines}\n }}")
        with open(GATES, "w", encoding="utf-8") as file:
            file.write("{\n" + ",\n".join(kinds) + "\n}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
