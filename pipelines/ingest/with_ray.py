#!/usr/bin/env python3
"""A corpus on a Ray cluster: remote calls of tok-shard, one a part of the list of files, then one merge.

    pipelines/ingest/with_ray.py OUTPUT PARTS [OPTION…] FILE…      options and files are those of tok-shard

Needs tok-shard on every node, ray (PyPI), and a file system that all nodes see; RAY_ADDRESS names a cluster, without it one is
started here. Run it again after a failure: finished parts stay, unfinished ones go on where they stopped.
"""

import os
import shutil
import subprocess
import sys

import ray


@ray.remote(num_cpus=1, max_retries=2)
def ingest(tool, part, parts, output, arguments):
    place = f"{output}.parts/{part}"
    subprocess.run([tool, "--resume", "--threads", "1", "--shard", f"{part}/{parts}", "--output", place, *arguments], check=True)
    return place


if len(sys.argv) < 4:
    sys.exit(__doc__)
output, parts, arguments = os.path.abspath(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
tool = shutil.which("tok-shard") or sys.exit("with_ray: no 'tok-shard' on the PATH")
arguments = [os.path.abspath(a) if os.path.exists(a) else a for a in arguments]
os.makedirs(f"{output}.parts", exist_ok=True)
ray.init(log_to_driver=False)
done = ray.get([ingest.remote(tool, part, parts, output, arguments) for part in range(parts)])
subprocess.run([tool, "merge", "--output", output, *done], check=True)
shutil.rmtree(f"{output}.parts")
