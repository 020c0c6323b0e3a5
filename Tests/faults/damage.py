"""Files that rot: every file of a checkpoint cut, flipped or gone. It is named, the run goes on from an older one and says
so, and ends in the same bytes."""

import os
import random

from workload import expect, progress


def damage(workload, flips, seed=2):
    generator = random.Random(seed)
    names = sorted(p.name for p in (workload.before / "step-00000004").iterdir())
    cases = []
    for name in names:
        size = (workload.before / "step-00000004" / name).stat().st_size
        cases += [("cut", name, length) for length in sorted({0, 1, size // 2, size - 1})]
        cases += [("flip", name, generator.randrange(8 * size)) for _ in range(flips)]
        cases.append(("gone", name, 0))
    for done, (kind, name, where) in enumerate(cases, 1):
        workload.reset(workload.before)
        path = workload.run / "step-00000004" / name
        before = path.read_bytes()
        if kind == "cut":
            os.truncate(path, where)
        elif kind == "flip":
            changed = bytearray(before)
            changed[where // 8] ^= 1 << where % 8
            path.write_bytes(changed)
        else:
            path.unlink()
        label = f"{name}: {kind} {where}"
        expect(not path.exists() or path.read_bytes() != before, f"{label} did not happen")
        status, _, said = workload.tool("ckpt-tool", "verify", "run")
        expect(status == 1 and name in said, f"{label}: verify says {status}: {said}")
        try:
            said = workload.complete()
        except Exception as error:
            raise type(error)(f"after {label}: {error}") from error
        expect("passed over 'step-00000004'" in said and "goes on from step" in said, f"{label} was not told: {said}")
        progress("damage", done, len(cases))
    links = 0
    for link in ("latest", "best", "last-good"):
        for target in (None, "step-00000099"):
            workload.reset(workload.before)
            (workload.run / link).unlink()
            if target:
                (workload.run / link).symlink_to(target)
            workload.complete()
            links += 1
    return {"cut, flipped or missing files": len(cases), "links gone or dangling": links}
