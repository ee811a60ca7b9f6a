"""What every stage process does around its `run`: parameters in, facts out, clear errors."""

from __future__ import annotations

import inspect
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

from apo_core.config.file import load_params
from apo_core.errors import ApoError, error_in_words
from apo_core.system.environment import (
    clear_rank_env,
    prepare_stage,
    use_cpu_accelerator,
    use_expandable_segments,
)
from apo_core.system.files import remove, write_json, write_text
from apo_core.system.imports import quick_imports
from apo_core.system.processes import set_parent_death_signal
from tasks.integrity.check import check_inputs
from tasks.lock import only_process
from tasks.stages.launcher import RANK, become_launcher
from tasks.workspace import CONFIRM, STAGES, Workspace

Facts = dict[str, Any]
INPUT_ERROR = 2  # exit status: running the same again cannot help


def main() -> None:
    """Run the stage named on the command line, in the current directory."""
    name, *rest = sys.argv[1:] or [""]
    if name not in (*STAGES, CONFIRM) or rest not in ([], [RANK] if name == "train" else []):
        raise SystemExit(f"usage: python -P -m tasks {{{'|'.join((*STAGES, CONFIRM))}}}")
    _die_with_parent()
    prepare_stage()
    if not rest:
        clear_rank_env()  # of a scheduler: the ranks of a training are our launcher's
        _start_fresh(Workspace(Path()), name)
    if name == "train":
        _prepare_training(Workspace(Path()), launch=not rest)
    with quick_imports():
        # Only now: engines read their settings when they are imported.
        module = import_module(f"tasks.stages.{name}")
    _settle_accelerator()
    run_stage_here(name, module.run, first=not rest or os.environ["RANK"] == "0")


def run_stage_here(name: str, run: Callable[..., Facts], *, first: bool) -> None:
    """Run a stage in this process and directory; what a user can mend is one line and exit status 2.

    `run` gets the workspace and exactly those sections of `params.yaml` that it names as arguments; a test
    holds `dvc.yaml` to the same names. Of many ranks the first one writes the facts.
    """
    workspace = Workspace(Path())
    started = time.perf_counter()
    try:
        params = load_params(workspace.params)
        sections = {section: getattr(params, section) for section in sections_of(run)}
        with only_process(workspace, name) if first else nullcontext():
            if first and name in STAGES:
                check_inputs(workspace, name)
            facts = run(workspace, **sections)
    except ApoError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        raise SystemExit(INPUT_ERROR) from None
    except (
        OSError
    ) as error:  # of a disk or its permissions; a server's file system may be back for another try
        print(f"error: {error_in_words(error)}", file=sys.stderr, flush=True)
        raise SystemExit(1) from None
    if not first:
        return
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux
    measured = {"seconds": round(time.perf_counter() - started, 3), "peak_rss_mib": round(peak, 1)}
    write_json(workspace.facts(name), facts | measured)


def _prepare_training(workspace: Workspace, *, launch: bool) -> None:
    """Set up what depends on the configuration, and go on as many ranks if it asks for more than one."""
    try:
        train = load_params(workspace.params).train
        if train.sampler.engine == "transformers":  # vLLM would read this process's memory
            use_expandable_segments()
        if launch and train.ranks > 1:
            become_launcher(train)
    except ApoError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        raise SystemExit(INPUT_ERROR) from None


def request_fresh(workspace: Workspace, stage: str) -> None:
    """Have the stage's next process start from nothing, however many attempts it takes to start it."""
    write_text(_fresh_request(workspace, stage), "")


def _start_fresh(workspace: Workspace, stage: str) -> None:
    # Here and not by whoever asks for it: only a stage that DVC lets run has its work to itself.
    if _fresh_request(workspace, stage).exists():
        remove(workspace.work(stage))
        remove(_fresh_request(workspace, stage))


def _fresh_request(workspace: Workspace, stage: str) -> Path:
    return workspace.work(stage).with_suffix(".fresh")


def sections_of(run: Callable[..., Facts]) -> list[str]:
    """The sections of `params.yaml` a stage depends on."""
    return [name for name in inspect.signature(run).parameters if name != "workspace"]


def _die_with_parent() -> None:
    """A killed run must not leave a stage behind that holds locks and writes files (Linux only)."""
    if sys.platform == "linux":
        set_parent_death_signal()
        if os.getppid() == 1 and os.environ.get("APO_RUN"):  # the parent died before the call
            raise SystemExit(f"stage: the run that started it is gone (signal {signal.SIGKILL})")


def _settle_accelerator() -> None:
    """Tell DeepSpeed, which transformers imports in passing, what torch knows; alone it guesses and warns."""
    torch = sys.modules.get("torch")
    if torch is not None and not torch.cuda.is_available():
        use_cpu_accelerator()
