#!/usr/bin/env bash
# The kernels beside OpenBLAS, the processor's peak and memcpy; about a minute on an idle machine. Gates nothing.
#   Benchmarks/kernels.sh [THREADS [--peak]]   (--peak: only the processor's peak; default: every CPU; MILLRACE_ISA=avx2 chooses the instruction set,
#                                         MILLRACE_BENCH_CPU_TIME=1 counts CPU time, for one thread on a busy machine)
# Needs clang, and libopenblas0-pthread for the rival. It compiles the C sources of CKernels as the package does.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sources=Sources/Shared/CKernels
clang -std=c11 -O2 -Wall -Werror -I"$sources/include" Benchmarks/kernels.c "$sources"/*.c -o "$work/kernels" \
    -lpthread -ldl -lm
"$work/kernels" "${1:-0}" "${2:-}"
