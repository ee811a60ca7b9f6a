"""HEALTHCHECK of the images: whether the service that this container runs still answers.

The command of the container's first process says which service it is. Servers and workers have a health
page, which is requested. Any other command, such as `apo run`, is healthy as long as it runs, which the
container engine sees by itself. In a container that has been given GPUs the driver is checked, too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from itertools import pairwise
from pathlib import Path

_ADDRESSES = {
    (
        "prefect",
        "worker",
    ): "http://127.0.0.1:8080/health",  # with --with-healthcheck; fails when it no longer polls
    ("prefect", "server"): "http://127.0.0.1:4200/api/ready",  # fails without its database
    ("mlflow", "server"): "http://127.0.0.1:5000/health",
}


def address_of(command: list[str]) -> str | None:
    """Address of a command's health page, or None; init process and interpreter may precede the command."""
    names = [Path(argument).name for argument in command]
    for pair in pairwise(names):
        if pair in _ADDRESSES:
            return _ADDRESSES[pair]
    return None


def problem_at(address: str) -> str | None:
    """Reason why an address does not answer with success, or None."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(address, timeout=8):
            return None
    except urllib.error.HTTPError as error:
        return f"{address}: {error.code} {error.read(300).decode(errors='replace')}"
    except OSError as error:
        return f"{address}: {error}"


def has_gpus() -> bool:
    """Whether the container was given GPUs: NVIDIA's base images and container toolkit set the variable."""
    return os.environ.get("NVIDIA_VISIBLE_DEVICES", "") not in ("", "none", "void")


def driver_problem() -> str | None:
    """Reason why no GPU works, or None: reloading the host's daemons can detach GPUs from a container."""
    completed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False)
    return f"nvidia-smi: {completed.stdout}{completed.stderr}".strip() if completed.returncode else None


def main() -> None:
    """Exit with status 1 and the reason if something does not answer."""
    address = address_of(Path("/proc/1/cmdline").read_text(encoding="utf-8").split("\0"))
    problem = driver_problem() if has_gpus() else None
    problem = problem or (problem_at(address) if address else None)
    if problem is not None:
        sys.exit(problem)


if __name__ == "__main__":
    main()
