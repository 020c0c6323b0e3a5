#!/usr/bin/env bash
# The kernels beside oneDNN, OpenBLAS and the machine's own limits; prints Markdown tables and gates nothing.
#
#   Benchmarks/kernels.sh [--threads N] [--rounds N] [--only products|passes] [--precision fp32|bf16]
#   Benchmarks/kernels.sh --peak [--threads N]    only the processor's peak, GFLOP/s
#
# Threads: every CPU unless told. MILLRACE_ISA=avx2 chooses the instruction set; MILLRACE_BENCH_CPU_TIME=1 counts CPU time, for
# --threads 1 on a busy machine. --precision is of the products. Needs clang, and libdnnl-dev and libopenblas0-pthread for
# the rivals (.ci/setup --bench).
# It compiles the C sources of CKernels as the package does, once, into .build/bench.
set -euo pipefail
cd "$(dirname "$0")/.."
sources=Sources/Shared/CKernels
program=$PWD/.build/bench/kernels
if [ ! -x "$program" ] || [ -n "$(find Benchmarks "$sources" -name '*.[ch]' -newer "$program")" ]; then
    mkdir -p "${program%/*}"
    clang -std=c11 -O2 -Wall -Werror -I"$sources/include" Benchmarks/*.c "$sources"/*.c -o "$program.$$" -lpthread -ldl -lm
    mv "$program.$$" "$program"
fi
exec "$program" "$@"
