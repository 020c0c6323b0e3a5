"""A disk that is really full: a run in a tmpfs of every size from too small to large enough (where one may be mounted), else
under a limit on the size of files. The room that is missing is told before a checkpoint is begun."""

import os
import shutil
import subprocess

from workload import expect, one_line

SCRIPT = """
set -u
mkdir -p disk
if mount -t tmpfs -o size=$1 none disk 2> /dev/null; then kind=tmpfs
else trap '' XFSZ; ulimit -f $2; kind=limit; fi
"${@:3}" < "$INPUT" 2> said
echo $? > status
echo $kind > kind
rm -rf run; cp -a disk/run run 2> /dev/null
if [ $kind = tmpfs ]; then umount disk; else rm -rf disk; fi
"""


def full_disk(workload, stride):
    refused = failed = fitted = 0
    unshare = ["unshare", "-m"] if subprocess.run(
        ["unshare", "-m", "true"], stderr=subprocess.DEVNULL).returncode == 0 else []
    arguments = workload.arguments(None)
    arguments[arguments.index("--run") + 1] = "disk/run"
    sizes = range(4, 240, 4 * stride)
    for pages in sizes:
        workload.reset(None)
        environment = dict(workload.environment, INPUT=str(workload.stream(None)))
        subprocess.run(
            [*unshare, "bash", "-c", SCRIPT, "-", f"{4 * pages}k", str(pages), *arguments],
            cwd=workload.home, env=environment, check=True)
        status = int((workload.home / "status").read_text())
        said = (workload.home / "said").read_text()
        if status == 0:
            fitted += 1
        else:
            expect(status in (73, 74), f"{pages} pages: status {status}: {said}")
            one_line("train-step", said)
            if "bytes, the disk has" in said:
                refused += 1
            else:
                expect("No space left on device" in said or "File too large" in said, f"{pages} pages: {said}")
                failed += 1
        workload.sound()
        workload.complete()
        shutil.rmtree(workload.home / "disk", ignore_errors=True)
    kind = (workload.home / "kind").read_text().strip()
    expect(fitted > 0 and refused + failed > 0, f"{fitted} fitted, {refused} were refused, {failed} failed")
    if kind == "tmpfs":
        expect(refused > 0, "no checkpoint was refused for lack of room")
    return {f"full disk ({kind})": refused + failed, "  of them refused before anything was written": refused}
