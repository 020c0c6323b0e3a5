#!/bin/sh
# Equal bits across processors: builds the C kernels for this machine and for arm64, runs both (arm64 under qemu), and
# compares the checksums of every instruction set. Needs clang, and on Debian or Ubuntu:
#   apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
# Prints the lines it compared; exits 0 when all agree, 1 when some differ, 69 when a tool is missing.
set -eu
cd "$(dirname "$0")/../.."
for tool in clang aarch64-linux-gnu-gcc qemu-aarch64; do
    command -v "$tool" >/dev/null || { echo "neon: '$tool' is missing, see the head of $0" >&2; exit 69; }
done
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
sources="Sources/Shared/CKernels"
flags="-std=c11 -O2 -Wall -Werror -I$sources/include"
# shellcheck disable=SC2086
clang $flags Tests/neon/driver.c $sources/*.c -o "$build/native" -lpthread -lm
mkdir "$build/arm64"
for file in Tests/neon/driver.c "$sources"/*.c; do
    # shellcheck disable=SC2086
    clang --target=aarch64-linux-gnu $flags -isystem /usr/aarch64-linux-gnu/include -c "$file" \
        -o "$build/arm64/$(basename "$file" .c).o"
done
aarch64-linux-gnu-gcc "$build"/arm64/*.o -o "$build/arm64/driver" -lpthread -lm
"$build/native" >"$build/lines"
qemu-aarch64 -L /usr/aarch64-linux-gnu "$build/arm64/driver" >>"$build/lines"
cat "$build/lines"
differing=$(grep -v '^rope' "$build/lines" | cut -d' ' -f2- | sort -u | wc -l)
tables=$(grep '^rope' "$build/lines" | sort -u | wc -l)
if [ "$differing" -ne 1 ] || [ "$tables" -ne 1 ]; then
    echo "neon: the checksums differ" >&2
    exit 1
fi
