#!/usr/bin/env bash
# Builds the reference of the library with DocC, from the docstrings of a release build: a static site.
#
#   docs/reference.sh OUTPUT    see it with: python3 -m http.server --directory OUTPUT
#
# A link that leads nowhere, and a docstring of a parameter that there is not, are errors. That some parameters of a function are
# explained and others are evident is not.
set -euo pipefail
cd "$(dirname "$0")/.."
output=${1:?usage: docs/reference.sh OUTPUT}
build=.build/release
graphs=$(mktemp -d)
trap 'rm -rf "$graphs"' EXIT
docc=$(command -v docc || { command -v xcrun > /dev/null && xcrun --find docc; })

flags=(-minimum-access-level public -skip-synthesized-members -I "$build/Modules" -output-dir "$graphs"
    -target "$(swift -print-target-info | sed -n 's/.*"unversionedTriple": "\(.*\)".*/\1/p')")
[ "$(uname)" = Linux ] || flags+=(-sdk "$(xcrun --show-sdk-path)")
for map in Sources/Shared/{CZstd,CZlib}/module.modulemap "$build/CKernels.build/module.modulemap" \
    .build/checkouts/swift-{crypto,system}/Sources/*/include/module.modulemap; do
    flags+=(-Xcc "-fmodule-map-file=$map")
done
for module in Bytes Tokens Batches Kernels Models Optimizers Checkpoints Metrics Training; do
    swift symbolgraph-extract -module-name "$module" "${flags[@]}"
done

rm -rf "$output"
mkdir -p "$output"
"$docc" convert docs/reference.docc --additional-symbol-graph-dir "$graphs" --output-path "$output" \
    --fallback-display-name Millrace --fallback-bundle-identifier millrace --fallback-bundle-version 1 \
    --transform-for-static-hosting 2> "$graphs/said" || { cat "$graphs/said" >&2 && exit 1; }
if grep -E '^(warning|error): ' "$graphs/said" | grep -v 'is missing documentation$' > "$graphs/wrong"; then
    cat "$graphs/said" >&2
    exit 1
fi
echo "$(find "$output/data" -name '*.json' | wc -l) pages in $output"
