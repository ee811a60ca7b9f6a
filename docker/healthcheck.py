"""Whether what this container runs still answers: the images' HEALTHCHECK.

The container's first process says what it is. A server or worker is asked; another command, `apo run` say,
is as healthy as it is alive, which the engine sees by itself. In a container that has been given GPUs the
driver answers too.
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
    ("prefect", "worker"): "http://127.0.0.1:8080/health",  # with --with-healthcheck; while it polls
    ("prefect", "server"): "http://127.0.0.1:4200/api/ready",  # while its database is there
    ("mlflow", "server"): "http://127.0.0.1:5000/health",
}


def address_of(command: list[str]) -> str | None:
    """The health page of a container that runs this command, init process and interpreter included."""
    names = [Path(argument).name for argument in command]
    for pair in pairwise(names):
        if pair in _ADDRESSES:
            return _ADDRESSES[pair]
    return None


def problem_at(address: str) -> str | None:
    """Why an address does not answer as it should, or None."""
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
    """Why no GPU can be used, or None: a reload of the host's daemons may take them from a container."""
    done = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False)
    return f"nvidia-smi: {done.stdout}{done.stderr}".strip() if done.returncode else None


def main() -> None:
    """Exit with status 1 and the reason if something does not answer."""
    address = address_of(Path("/proc/1/cmdline").read_text(encoding="utf-8").split("\0"))
    problem = driver_problem() if has_gpus() else None
    problem = problem or (problem_at(address) if address else None)
    if problem is not None:
        sys.exit(problem)


if __name__ == "__main__":
    main()
