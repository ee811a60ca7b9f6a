"""Runs that are ended at random until they complete, and compared with a run that nothing disturbed."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
from pathlib import Path
from typing import IO, NamedTuple

import psutil
from builders import BIN, clean_env

from faults.outcome import differences, left_over
from faults.ways import WAYS

SETTINGS = {
    "apo": (),
    "grpo": ("algorithm=grpo",),
    "ppo": ("algorithm=ppo",),
    "rebel": ("algorithm=rebel",),
    "oapl": ("algorithm=oapl",),
    "two-ranks": ("train.ranks=2",),
}
_FIRST = next(iter(SETTINGS))
_LONGEST_SECONDS = 30.0  # from a start to the next disturbance
_END_SECONDS = 90.0
_GONE_SECONDS = 15.0


class Trial(NamedTuple):
    """The outcome of a workspace that was disturbed."""

    setting: str
    seed: int
    ways: list[str]
    """The disturbances, in order."""
    problems: list[str]
    """Empty where it ended as an undisturbed run."""


def undisturbed(root: Path, setting: str) -> Path:
    """A workspace whose run nothing has disturbed; made once."""
    base = root / f"undisturbed-{setting}"
    if not (base / "reports/summary.json").exists():
        shutil.rmtree(base, ignore_errors=True)
        _apo("init", str(base), "--preset", "ci")
        if setting != _FIRST:  # the reference, most of the time, does not depend on what trains
            _take_reference(undisturbed(root, _FIRST), base)
        _apo("run", "-w", str(base), *_overrides(setting))
    return base


def disturbed(root: Path, setting: str, seed: int, kills: int) -> Trial:
    """Disturb a run so often, at moments and in ways drawn from the seed; let it end, and compare."""
    base = undisturbed(root, setting)
    workspace = root / f"disturbed-{setting}-{seed}"
    shutil.rmtree(workspace, ignore_errors=True)
    _apo("init", str(workspace), "--preset", "ci")
    if seed % 3:  # two of three begin behind the reference, which takes most of the time
        _take_reference(base, workspace)
    random_numbers, ways, problems = random.Random(f"{setting}/{seed}"), list[str](), list[str]()
    with (root / f"disturbed-{setting}-{seed}.log").open("wb") as log:
        process = _start(workspace, setting, log)
        while len(ways) < kills:
            try:
                process.wait(timeout=random_numbers.uniform(0.3, _LONGEST_SECONDS))
            except subprocess.TimeoutExpired:
                ways.append(_disturb(process, random_numbers, problems))
            if process.poll() == 0:
                break
            if process.poll() is not None:
                process = _start(workspace, setting, log)
        status = process.wait(timeout=1800)
        if status not in (0, None):  # the last disturbance ended it
            status = _start(workspace, setting, log).wait(timeout=1800)
    if status != 0:
        problems.append(f"the last run ended with status {status}")
    else:
        problems += [f"{name} differs" for name in differences(workspace, base)]
    problems += [f"left: {rest}" for rest in left_over(workspace)]
    if not problems:
        shutil.rmtree(workspace)
    return Trial(setting, seed, ways, problems)


def _disturb(process: subprocess.Popen[bytes], random_numbers: random.Random, problems: list[str]) -> str:
    """Disturb a run in a way that is drawn; where that ends it, wait until all it started has ended."""
    way = random_numbers.choices(list(WAYS), [way.weight for way in WAYS.values()])[0]
    started = psutil.Process(process.pid).children(recursive=True)
    if not WAYS[way].disturb(process.pid):  # no stage, DVC or server is there now
        way = "group-KILL"
        WAYS[way].disturb(process.pid)
    if not WAYS[way].ends_run:
        return way
    try:
        process.wait(timeout=_END_SECONDS)
    except subprocess.TimeoutExpired:
        problems.append(f"{way}: did not end in {_END_SECONDS:.0f} s")
        WAYS["tree-KILL"].disturb(process.pid)
        process.wait()
    _, alive = psutil.wait_procs(started, timeout=_GONE_SECONDS)
    problems += [f"{way}: process {process.pid} outlived the run" for process in alive]
    return way


def _start(workspace: Path, setting: str, log: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [str(BIN / "apo"), "run", "-w", str(workspace), *_overrides(setting)],
        stdout=log,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        env=clean_env() | {"OMP_NUM_THREADS": "1"},
        preexec_fn=_heed_signals,
    )


def _heed_signals() -> None:
    """A shell starts what it puts into the background with SIGINT ignored: a Ctrl-C would do nothing."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def _take_reference(base: Path, workspace: Path) -> None:
    """Give a new workspace the reference of another, as DVC's cache would."""
    for name in (".dvc/cache", "data/reference", "reports/stages"):
        shutil.copytree(base / name, workspace / name, dirs_exist_ok=True)
    for file in (workspace / "reports/stages").iterdir():
        if file.name != "reference.json":
            file.unlink()
    # Without the record of earlier runs every other stage runs.
    shutil.rmtree(workspace / ".dvc/cache/runs", ignore_errors=True)
    lock = (base / "dvc.lock").read_text()
    head, _, stages = lock.partition("stages:\n")
    end = stages.index("\n  prepare:") if "\n  prepare:" in stages else len(stages)
    (workspace / "dvc.lock").write_text(f"{head}stages:\n{stages[:end]}\n")


def _overrides(setting: str) -> list[str]:
    return [part for override in SETTINGS[setting] for part in ("--set", override)]


def _apo(*arguments: str) -> None:
    environment = clean_env() | {"OMP_NUM_THREADS": "1"}
    subprocess.run([str(BIN / "apo"), *arguments], check=True, env=environment, stdout=subprocess.DEVNULL)
