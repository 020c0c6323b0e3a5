#!/usr/bin/env bash
# A corpus on all cores of one machine, or of several, by GNU parallel: parts of the list of files, then one merge.
#
#   pipelines/ingest/parallel.sh OUTPUT PARTS [OPTION…] FILE…      options and files are those of tok-shard
#
# Needs tok-shard and `parallel` (Debian: parallel). JOBS says how many parts run at once (default: all cores);
# PARALLEL='--sshloginfile hosts' in the environment spreads them over machines that share the file system. Run it again after a
# failure: finished parts stay, unfinished ones go on where they stopped. What is left out (--dedup, --min-tokens, --max-tokens) is
# added up by the merge; --dedup and --shuffle see one part each.
set -euo pipefail
output=${1:?OUTPUT} parts=${2:?PARTS}
shift 2
mkdir -p "$output.parts"
seq 0 $((parts - 1)) | parallel --halt soon,fail=1 --jobs "${JOBS:-100%}" -q -I '{part}' \
    tok-shard --resume --threads 1 --shard "{part}/$parts" --output "$output.parts/{part}" "$@"
tok-shard merge --output "$output" "$output.parts"/*
rm -r "$output.parts"
