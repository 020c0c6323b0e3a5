"""parity-report.json, which has every row, and parity-report.md, which a person reads.

The Markdown begins with what failed, then has the worst row of each quantity against each kind of oracle, the cases,
with the digests of everything that the oracles were given, the mutations, and where it ran. What did not run is called
"not run" wherever it would stand; it is never counted as passed.
"""

import json
import math
import os
import platform
import subprocess
import sys
from importlib import metadata

from parity.check import OURS, kind_of
from parity.compare import TITLES

KINDS = {
    "exact": "Millrace against the case's files",
    "float64": "Millrace (float32) against float64 oracles",
    "float32": "Millrace (float32) against float32 oracles",
    "oracles": "Float64 oracles against NumPy's: how far the yardsticks agree",
    "bf16-float64": "bf16: Millrace against float64 oracles that round the same operands",
    "bf16-float32": "bf16: Millrace against float32 oracles that round the same operands",
    "bf16-oracles": "bf16: float64 oracles against NumPy's",
    "bf16-unrounded": "bf16: Millrace against NumPy float64 that rounds nothing",
    "bf16-runs": "bf16: Millrace against its own run in fp32",
    "bf16-frameworks": "bf16: float32 frameworks against NumPy float64: no gate, to compare ours with",
    "frameworks": "Float32 frameworks against NumPy float64: no gate, to compare ours with",
}
# What a report on speed or rounding may depend on.
INSTRUCTIONS = ("avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512_bf16", "amx_tile", "asimd", "sve", "bf16")


def failures(result):
    return [row for row in result.rows if row.passed is False]


def one_line(result):
    gated = [row for row in result.rows if row.gate]
    nearest = max(gated, key=lambda row: row.margin if not math.isnan(row.margin) else math.inf, default=None)
    failed = len(failures(result))
    survived = [tried["name"] for tried in result.mutations if not tried["caught"]]
    verdict = "ok" if not failed and not survived else f"{failed} rows FAILED"
    if survived:
        verdict += f", mutations survived: {', '.join(survived)}"
    if nearest is None:
        return f"{result.case}: {verdict}"
    return f"{result.case}: {verdict}, nearest to its gate: {nearest.quantity} {nearest.margin:.2f} of it"


def host():
    model, flags = platform.processor() or platform.machine(), []
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                key, _, value = line.partition(":")
                if key.strip() == "model name":
                    model = value.strip()
                if key.strip() in ("flags", "Features"):
                    flags = [flag for flag in INSTRUCTIONS if flag in value.split()]
    except OSError:
        pass
    return {
        "system": f"{platform.system()} {platform.machine()}", "processor": model, "processors": os.cpu_count(),
        "instructions": flags,
    }  # fmt: skip


def versions(missing):
    result = {"python": platform.python_version()}
    for name in ("numpy", "safetensors", "jax", "jaxlib", "optax", "torch"):
        try:
            result[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            result[name] = "absent"
    done = subprocess.run(["train-step", "--version"], capture_output=True, text=True, check=False)
    result["millrace"] = done.stdout.strip() or "unknown"
    return result


def number(value):
    """A JSON number, or null with its name beside it: JSON has no NaN."""
    return value if value is None or math.isfinite(value) else None


def row_json(row):
    result = {
        "case": row.case, "step": row.step, "subject": row.subject, "reference": row.reference,
        "quantity": row.quantity, "measured": number(row.measured), "gate": row.gate, "margin": row.margin
        and number(row.margin), "worst": row.worst, "passed": row.passed,
    }  # fmt: skip
    if not math.isfinite(row.measured):
        result["measured_nonfinite"] = str(row.measured)
    return result


def make(results, broken, missing, required, steps, untried, seconds, jobs):
    """The report as one JSON object."""
    rows = [row for result in results for row in result.rows]
    mutations = [tried for result in results for tried in result.mutations]
    why = [f"case '{name}': {message}" for name, message in broken.items()]
    failed = sum(row.passed is False for row in rows)
    if failed:
        why.append(f"{failed} of {sum(row.passed is not None for row in rows)} rows outside their gates")
    why += [f"mutation '{tried['name']}' survived" for tried in mutations if not tried["caught"]]
    why += [f"'{name}' is required and did not run: {missing[name]}" for name in required if name in missing]
    for tried in mutations:
        tried["failed"] = {quantity: number(times) for quantity, times in tried["failed"].items()}
    return {
        "format": "millrace-parity", "version": 1, "passed": not why, "why_not": why,
        "versions": versions(missing), "host": host() | {"worker_processes": jobs, "threads_a_worker": 1},
        "steps": list(steps), "seconds": round(seconds, 1),
        "not_run": missing
        | ({f"{len(untried)} mutations": f"cases not compared: {', '.join(untried)}"} if untried else {}),
        "cases": [
            {"name": r.case, "about": r.about, "digests": r.digests, "seconds": r.seconds,
             "failed_rows": len(failures(r))} for r in results
        ],
        "mutations": mutations,
        "rows": [row_json(row) for row in rows],
    }  # fmt: skip


def write(report, directory):
    with open(os.path.join(directory, "parity-report.json"), "w", encoding="utf-8") as file:
        json.dump(report, file, indent=1, allow_nan=False)
        file.write("\n")
    with open(os.path.join(directory, "parity-report.md"), "w", encoding="utf-8") as file:
        file.write(markdown(report))


def summary(report):
    rows = [row for row in report["rows"] if row["passed"] is not None]
    caught = sum(tried["caught"] for tried in report["mutations"])
    return (
        f"parity: {'passed' if report['passed'] else 'FAILED'}: {len(report['cases'])} cases, {len(rows)} rows with a "
        f"gate, {sum(row['passed'] is False for row in rows)} outside; {caught} of {len(report['mutations'])} "
        f"mutations caught; not run: {', '.join(report['not_run']) or 'nothing'}; {report['seconds']:.0f} s"
    )


def show(value):
    if value is None:
        return "not finite"
    return f"{value:.2g}" if 0.01 <= abs(value) < 1000 or value == 0 else f"{value:.1e}"


VERDICTS = {None: "", True: "passed", False: "**failed**"}


def bound(row):
    return "" if row["gate"] is None else f"{row['gate']:g}"


def table(header, lines):
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    for line in lines:
        yield "| " + " | ".join(str(cell) for cell in line) + " |"
    yield ""


def _size(row):
    return math.inf if row["measured"] is None else row["measured"]


def worst_rows(rows):
    """{(kind, quantity, first or later): worst row}."""
    found = {}
    for row in rows:
        when = "step 1" if row["step"] <= 1 else "later"
        key = (kind_of(row["subject"], row["reference"]), row["quantity"], when)
        if key not in found or _size(row) > _size(found[key]):
            found[key] = row
    return found


def markdown(report):
    return "\n".join(lines(report)) + "\n"


def lines(report):
    yield "# Parity report"
    yield ""
    yield summary(report).removeprefix("parity: ").capitalize() + "."
    yield ""
    for reason in report["why_not"]:
        yield f"- **failed**: {reason}"
    for name, reason in report["not_run"].items():
        yield f"- not run: {name}: {reason}"
    yield ""
    failed = [row for row in report["rows"] if row["passed"] is False]
    if failed:
        yield "## Rows outside their gates"
        yield ""
        yield from table(
            ("case", "step", "compared", "with", "quantity", "measured", "gate", "worst tensor"),
            ((r["case"], r["step"], r["subject"], r["reference"], TITLES[r["quantity"]], show(r["measured"]),
              f"{r['gate']:g}", r["worst"]) for r in failed),
        )  # fmt: skip
    yield from worst_tables(report["rows"])
    yield from case_tables(report)
    yield "## Mutations"
    yield ""
    yield "Known bugs put into the NumPy oracle one at a time. Behind each gate that shut: measured / gate."
    yield ""
    yield from table(
        ("mutation", "bug", "case", "gates that shut"),
        ((t["name"], t["about"], t["case"], ", ".join(
            f"{q} {'inf' if x is None else format(x, '.2g')}x" for q, x in t["failed"].items()) if t["caught"]
          else "**none: it survived**") for t in report["mutations"]),
    )  # fmt: skip
    yield "## Where it ran"
    yield ""
    yield from table(("what", "version"), report["versions"].items())
    described = report["host"] | {"instructions": " ".join(report["host"]["instructions"]) or "unknown"}
    yield from table(("host", ""), described.items())


def worst_tables(rows):
    found = worst_rows(rows)
    for kind, title in KINDS.items():
        of_kind = {key: row for key, row in found.items() if key[0] == kind}
        if not of_kind:
            continue
        yield f"## {title}"
        yield ""
        cells = []
        for quantity in TITLES:
            for when in ("step 1", "later"):
                row = of_kind.get((kind, quantity, when))
                if row is None:
                    continue
                gate, verdict = bound(row), VERDICTS[row["passed"]]
                margin = "" if row["margin"] is None else f"{row['margin']:.2f}"
                place = row["case"] + (f", {row['worst']}" if row["worst"] else "")
                with_ = row["reference"] if row["subject"] == OURS else f"{row['subject']}"
                cells.append((TITLES[quantity], when, show(row["measured"]), gate, margin, verdict, with_, place))
        yield from table(("quantity", "when", "worst", "gate", "worst / gate", "", "oracle", "case and tensor"), cells)


def case_tables(report):
    yield "## Cases"
    yield ""
    cells = []
    for case in report["cases"]:
        rows = [r for r in report["rows"] if r["case"] == case["name"] and r["gate"]]
        nearest = max(rows, key=lambda r: math.inf if r["margin"] is None else r["margin"], default=None)
        verdict = "passed" if not case["failed_rows"] else f"**{case['failed_rows']} rows failed**"
        near = "" if nearest is None else f"{nearest['quantity']}, {show(nearest['margin'])}"
        cells.append((case["name"], case["about"], verdict, near, f"{case['seconds']['comparing']:.0f} s"))
    yield from table(("case", "what it is", "", "nearest to its gate", "time"), cells)
    yield "<details><summary>Every quantity of every case: the worst over the oracles</summary>"
    yield ""
    for case in report["cases"]:
        rows = [r for r in report["rows"] if r["case"] == case["name"] and r["subject"] == OURS]
        worst = {}
        for row in rows:
            key = (row["quantity"], row["step"])
            if key not in worst or (row["margin"] or 0) > (worst[key]["margin"] or 0):
                worst[key] = row
        yield f"### {case['name']}"
        yield ""
        yield ", ".join(f"{what} `{digest[:16]}`" for what, digest in case["digests"].items())
        yield ""
        yield from table(
            ("quantity", "step", "measured", "gate", "margin", "", "oracle", "worst tensor"),
            ((TITLES[q], s, show(r["measured"]), bound(r), "" if r["margin"] is None else f"{r['margin']:.2f}",
              VERDICTS[r["passed"]], r["reference"], r["worst"])
             for (q, s), r in sorted(worst.items(), key=lambda item: (list(TITLES).index(item[0][0]), item[0][1]))),
        )  # fmt: skip
    yield "</details>"
    yield ""


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        print(markdown(json.load(file)), end="")
