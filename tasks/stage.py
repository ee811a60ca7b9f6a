"""What every stage process does around its `run`: parameters in, facts out, clear errors."""

from __future__ import annotations

import inspect
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from apo_core.config.file import load_params
from apo_core.errors import ApoError
from apo_core.files import write_json
from apo_core.processes import set_parent_death_signal
from tasks.workspace import Workspace

Facts = dict[str, Any]
INPUT_ERROR = 2  # exit status: running the same again cannot help


def stage_main(name: str, run: Callable[..., Facts]) -> None:
    """Run a stage in the current directory and exit.

    `run` gets the workspace and exactly those sections of `params.yaml` that it names as arguments; a test
    holds `dvc.yaml` to the same names.
    """
    _die_with_parent()
    _quiet_libraries()
    workspace = Workspace(Path())
    started = time.perf_counter()
    try:
        params = load_params(workspace.params)
        sections = {section: getattr(params, section) for section in sections_of(run)}
        facts = run(workspace, **sections)
    except ApoError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        raise SystemExit(INPUT_ERROR) from None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux
    measured = {"seconds": round(time.perf_counter() - started, 3), "peak_rss_mib": round(peak, 1)}
    write_json(workspace.facts(name), facts | measured)


def sections_of(run: Callable[..., Facts]) -> list[str]:
    """The sections of `params.yaml` a stage depends on."""
    return [name for name in inspect.signature(run).parameters if name != "workspace"]


def _die_with_parent() -> None:
    """A killed run must not leave a stage behind that holds locks and writes files (Linux only)."""
    if sys.platform == "linux":
        set_parent_death_signal()
        if os.getppid() == 1 and os.environ.get("APO_RUN"):  # the parent died before the call
            raise SystemExit(f"stage: the run that started it is gone (signal {signal.SIGKILL})")


def _quiet_libraries() -> None:
    """Nothing phones home, and logs hold what a person can use."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DS_ACCELERATOR", "cuda" if _has_cuda() else "cpu")


def _has_cuda() -> bool:
    return Path("/dev/nvidiactl").exists()
