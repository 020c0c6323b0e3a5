"""The parity suite: every case, every oracle, every mutation, one report.

    python -m parity --output DIR [--quick] [--cases GLOB] [--oracles numpy,jax,torch] [--require jax,torch]

The tools are those on PATH. A worker process takes cases of one model shape after the other, so that JAX compiles each
shape once; every worker computes on one thread, and there are as many as `--jobs`. Exit status: 0 all passed, 1 a row
left its gate, a mutation survived or a required oracle did not run, 64 usage, 66 a tool or file is missing.
"""

import argparse
import concurrent.futures
import fnmatch
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import traceback

TOOLS = ("tok-shard", "tok-pack", "train-step")
# Before NumPy, torch and JAX are loaded, here and in the workers: one thread each.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu",
    # XLA's older way to emit loops compiles a quarter sooner, and compiling is most of what JAX does here.
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false --xla_cpu_use_fusion_emitters=false",
}  # fmt: skip


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(64, f"parity: {message}\n")


def names(allowed):
    def parse(text):
        found = [name for name in text.split(",") if name]
        for name in found:
            if name not in allowed:
                raise argparse.ArgumentTypeError(f"'{name}': expected some of {','.join(allowed)}")
        return found

    return parse


def parse(arguments):
    parser = Parser(prog="parity", description="Compare train-step with NumPy, JAX and PyTorch.")
    parser.add_argument("--output", required=True, metavar="DIR", help="where parity-report.json and .md go")
    parser.add_argument("--quick", action="store_true", help="compare steps 1 and 10 only, not all ten")
    parser.add_argument("--cases", default="*", metavar="GLOB", help="only cases whose name matches")
    parser.add_argument(
        "--oracles", type=names(("numpy", "jax", "torch")), default=["numpy", "jax", "torch"], metavar="LIST",
        help="oracles to run; NumPy's always runs (default: numpy,jax,torch)",
    )  # fmt: skip
    parser.add_argument(
        "--require", type=names(("jax", "torch")), default=[], metavar="LIST", help="fail when one of these did not run"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="worker processes")
    parser.add_argument("--keep", metavar="DIR", help="make the cases in this directory and leave them there")
    return parser.parse_args(arguments)


def work(group, parent, oracles, steps, keep):
    """In a worker: the cases of one shape. Returns a Result or a message for each."""
    from parity import bf16, cases, check, compare, mutations

    frameworks, _ = check.load_frameworks(oracles)
    if "torch" in frameworks:
        frameworks["torch"].torch.set_num_threads(1)
    gates, results = compare.Gates(), []
    for name in group:
        tried = [mutation for mutation in mutations.MUTATIONS if mutation.case == name]
        try:
            if name == bf16.NAME:
                results.append(bf16.run(parent, gates, keep))
            else:
                results.append(check.run_case(cases.BY_NAME[name], parent, frameworks, gates, steps, tried, keep))
        except cases.CaseError as error:
            results.append((name, str(error)))
        except Exception as error:  # A case that breaks an oracle is a failed case, not the end of the others.
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{os.path.basename(place.filename)}:{place.lineno}"
            results.append((name, f"{where}: {type(error).__name__}: {error}".splitlines()[0]))
    return results


def groups(selected):
    """Cases of one shape together, the groups with most to do first."""
    by_shape = {}
    for case in selected:
        by_shape.setdefault(json.dumps(case.model, sort_keys=True), []).append(case)

    def effort(members):
        return sum(case.model["L"] * case.model["C"] * (case.model["C"] + case.model["V"]) + 10**6 for case in members)

    return [[case.name for case in members] for members in sorted(by_shape.values(), key=effort, reverse=True)]


def main(arguments=None):
    options = parse(arguments)
    os.environ.update({key: value for key, value in ONE_THREAD.items() if key not in os.environ})
    try:
        from parity import bf16, cases, check, mutations, report
    except ImportError as error:
        print(f"parity: {error}; see parity/requirements.txt", file=sys.stderr)
        return 66
    selected = [case for case in cases.CASES if fnmatch.fnmatchcase(case.name, options.cases)]
    runs = [[bf16.NAME]] if fnmatch.fnmatchcase(bf16.NAME, options.cases) else []
    if not selected and not runs:
        print(f"parity: --cases '{options.cases}': no case of that name", file=sys.stderr)
        return 64
    if options.jobs < 1:
        print(f"parity: --jobs {options.jobs}: expected at least 1", file=sys.stderr)
        return 64
    for tool in TOOLS:
        if shutil.which(tool) is None:
            print(f"parity: '{tool}': not found on PATH", file=sys.stderr)
            return 66
    try:
        os.makedirs(options.output, exist_ok=True)
        if options.keep:
            os.makedirs(options.keep, exist_ok=True)
    except OSError as error:
        print(f"parity: '{error.filename}': {error.strerror}", file=sys.stderr)
        return 66
    wanted = [name for name in ("jax", "torch") if name in options.oracles]
    loaded, missing = check.load_frameworks(wanted)
    missing |= {name: "not asked for" for name in ("jax", "torch") if name not in wanted}
    steps = (1, cases.STEPS) if options.quick else tuple(range(1, cases.STEPS + 1))

    began = time.perf_counter()
    results, broken = [], {}
    parent = options.keep or tempfile.mkdtemp(prefix="parity-")
    try:
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(options.jobs, context) as pool:
            futures = {
                pool.submit(work, group, parent, sorted(loaded), steps, bool(options.keep)): group
                for group in runs + groups(selected)
            }
            for future in concurrent.futures.as_completed(futures):
                try:
                    done = future.result()
                except concurrent.futures.BrokenExecutor as error:
                    done = [(name, f"its worker process died: {error}") for name in futures[future]]
                for result in done:
                    if isinstance(result, tuple):
                        broken[result[0]] = result[1]
                        print(f"parity: {result[0]}: could not be compared: {result[1]}", file=sys.stderr)
                    else:
                        results.append(result)
                        print(f"parity: {report.one_line(result)}", file=sys.stderr)
    finally:
        if not options.keep:
            shutil.rmtree(parent, ignore_errors=True)

    order = [case.name for case in selected] + [bf16.NAME]
    results.sort(key=lambda result: order.index(result.case))
    compared = {result.case for result in results}
    untried = [mutation.name for mutation in mutations.MUTATIONS if mutation.case not in compared]
    made = report.make(
        results, broken, missing, options.require, steps, untried, time.perf_counter() - began, options.jobs
    )
    report.write(made, options.output)
    print(report.summary(made))
    return 0 if made["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
