#!/usr/bin/env bash
# A corpus on a Slurm cluster: an array of jobs, each a part of the list of files, and a merge that waits for all of them.
#
#   pipelines/ingest/slurm.sh OUTPUT PARTS [OPTION…] FILE…      options and files are those of tok-shard
#
# Needs tok-shard, sbatch, and a file system that all nodes see; OUTPUT and files are paths that mean the same on all of them.
# Prints the number of the merge's job. SBATCH_PARTITION, SBATCH_TIMELIMIT and other SBATCH_… variables choose resources. Submit
# it again after a failure: finished parts stay, unfinished ones go on where they stopped.
set -euo pipefail
if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then # as a job of the array
    output=$1 parts=$2
    exec tok-shard --resume --threads "${SLURM_CPUS_ON_NODE:-1}" --shard "$SLURM_ARRAY_TASK_ID/$parts" \
        --output "$output.parts/$SLURM_ARRAY_TASK_ID" "${@:3}"
elif [ "${1:-}" = --merge ]; then # as the last job
    tok-shard merge --output "$2" "$2.parts"/*
    exec rm -r "$2.parts"
fi
output=${1:?OUTPUT} parts=${2:?PARTS}
mkdir -p "$output.parts"
array=$(sbatch --parsable --array="0-$((parts - 1))" --output="$output.parts.%a.log" "$0" "$output" "$parts" "${@:3}")
sbatch --parsable --dependency="afterok:$array" --kill-on-invalid-dep=yes --output="$output.merge.log" "$0" --merge "$output"
