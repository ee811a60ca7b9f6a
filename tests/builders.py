"""Helpers of tests: processes, workspaces, trainings, parts of a step. Fixtures are in conftest.py."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType

# Engines are imported where they are used: the process that hands out tests needs none.

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent

# dtype and zero_stage of every kind of training that can be configured.
MODES = [("float32", 0), ("bfloat16", 0), ("float32", 1), ("bfloat16", 2), ("float32", 3)]
OPTIMIZER = {"learning_rate": 1e-2, "adam_betas": (0.9, 0.95), "weight_decay": 0.1, "max_grad_norm": 1e9}
PROMPTS = ["1+1=", "7+5-3=", "4=", "2+2+2="]


def assert_linear(action: Callable[[int], object], *, size: int) -> None:
    """Assert that an action's time grows with the size of what it is given, and not with its square.

    A ratio, for machines differ: four times the size may take nine times as long, and any size a twentieth of
    a second. What squares takes sixteen times.
    """

    def seconds(of: int) -> float:
        started = time.process_time()
        action(of)
        return time.process_time() - started

    small, large = (min(seconds(of) for _ in range(2)) for of in (size // 4, size))
    assert large < max(9 * small, 0.05), f"{size // 4}: {small:.3f} s, {size}: {large:.3f} s"


def wants_gpu(markexpr: str, environ: Mapping[str, str]) -> bool:
    """Whether tests see this machine's GPUs: `pytest -m gpu`, or any selection with APO_TEST_GPU=1."""
    return environ.get("APO_TEST_GPU") == "1" or markexpr.split()[:1] == ["gpu"]


# --- processes and workspaces -------------------------------------------------------------------------------


def clean_env() -> dict[str, str]:
    """Return this process's environment with the project's commands first on PATH.

    Variables that name a user's servers are left out, and so are the ranks that an engine started in this
    process has set.
    """
    left_out = ("PREFECT_", "MLFLOW_", "APO_", "RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(left_out)}
    return kept | {"PATH": f"{BIN}{os.pathsep}{kept['PATH']}"}


def execute(
    command: str, cwd: Path, *, check: bool = True, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command line as a person would, with `env` added; stdout and stderr come back as one text."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=cwd,
        env=clean_env() | (env or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if check:
        assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}"
    return done


def run_stage(stage: ModuleType, workspace):
    """Run a stage in this process: a stage process of its own would import the engines for ten seconds."""
    from apo_core.config.file import load_params
    from tasks.stages.process import sections_of

    params = load_params(workspace.params)
    return stage.run(workspace, **{name: getattr(params, name) for name in sections_of(stage.run)})


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Lock a directory that several test processes share, for the length of the block."""
    with directory.with_name("lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def copy_of(finished: Path, copy: Path) -> Path:
    """Copy a finished workspace without its registry and its git history.

    The Prefect server's database is copied too: making one takes ten seconds, and no test is about it.
    """
    with locked(finished):
        ignored = shutil.ignore_patterns(".venv", ".apo", ".git")
        shutil.copytree(finished, copy, symlinks=True, ignore=ignored)
        shutil.copytree(finished / ".apo/prefect", copy / ".apo/prefect")
    execute("git init -q", copy)
    return copy


# --- a registry ---------------------------------------------------------------------------------------------


def as_logged_model(policy: Path, target: Path) -> Path:
    """The files of a logged model as MLflow makes them of a policy, without its seconds for that."""
    shutil.copytree(policy, target / "model")
    (target / "components/tokenizer").mkdir(parents=True)
    (target / "components/tokenizer/tokenizer.json").write_text('{"tokens": "abc"}')
    (target / "MLmodel").write_text("flavors: [transformers]")
    return target


def files_of_version(log, version: str = "1") -> Path:
    """Where a store of the workspace's own keeps a version's files."""
    model_id = log.client.get_model_version(log.model, version).source.removeprefix("models:/")
    return Path(log.client.get_logged_model(model_id).artifact_location.removeprefix("file://"))


# --- interruptions ------------------------------------------------------------------------------------------


def flip_a_byte(file: Path) -> None:
    """Change the byte in the middle of a file without a trace in its size, times or mode."""
    before = file.stat()
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.chmod(0o644)
    file.write_bytes(content)
    file.chmod(stat.S_IMODE(before.st_mode))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def kill_when(workspace: Path, command: list[str], reached: Callable[[], bool]) -> None:
    """Start a command, kill it once `reached()` is true, and wait until all its processes have ended."""
    process = subprocess.Popen(
        command,
        cwd=workspace,
        # The shell of cron, systemd and containers, which stays between DVC and its command unless replaced.
        env=clean_env() | {"SHELL": "/bin/sh"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 400
    while not reached():
        assert process.poll() is None, "the command ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)  # the command alone: the stage has to notice that its parent is gone
    process.wait()
    while still_running(workspace):
        assert time.monotonic() < deadline, "the stage outlived the command"
        time.sleep(0.1)


def still_running(workspace: Path) -> bool:
    """Whether a process works in the workspace."""
    for directory in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if directory.readlink() == workspace:
                return True
        except OSError:
            continue
    return False


def steps_done(workspace: Path) -> int:
    """Count the steps of a training that has not ended."""
    file = workspace / "data/unfinished/train/metrics.jsonl"
    return file.read_text().count("\n") if file.exists() else 0


# --- what a training leaves ---------------------------------------------------------------------------------


def weights_hash(workspace: Path) -> str:
    """SHA-256 of the trained policy's weights."""
    return hashlib.sha256((workspace / "data/policy/model.safetensors").read_bytes()).hexdigest()


def training_outcome(workspace: Path):
    """Return the metrics of every step, and the weights of the trained policy."""
    from safetensors.torch import load_file

    rows = [json.loads(line) for line in (workspace / "data/metrics.jsonl").read_text().splitlines()]
    return rows, load_file(workspace / "data/policy/model.safetensors")


def assert_same_training(ours, theirs, *, metrics=1e-6, weights=1e-6, measure=None) -> None:
    """Assert that all sampled columns are equal, and sums equal up to the order of their terms."""
    import pytest
    import torch

    for row, other in zip(ours[0], theirs[0], strict=True):
        for name in ("step", "reward", "value", "response_length", "truncated"):
            assert row[name] == other[name]
        for name in ("loss", "kl", "advantage"):
            assert row[name] == pytest.approx(other[name], abs=metrics)
    assert ours[1].keys() == theirs[1].keys()
    for name, weight in theirs[1].items():
        assert (measure or torch.max)((ours[1][name] - weight).abs()) <= weights, name


# --- models -------------------------------------------------------------------------------------------------


def tied_llama(**options):
    """The configuration of a tiny Llama whose head shares its embedding."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=17,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        tie_word_embeddings=True,
        **options,
    )


# --- parts of a training step -------------------------------------------------------------------------------


def training_set(prompt_template):
    """Four prompts with their answers and V*."""
    from apo_core.sampling.scored import Question
    from apo_core.training.context import TrainingSet

    return TrainingSet(
        questions=[
            Question(prompt_id, prompt, answer, "{}")
            for prompt_id, prompt, answer in zip("abcd", PROMPTS, "2946", strict=True)
        ],
        token_ids=[prompt_template.encode(prompt) for prompt in PROMPTS],
        v_star=[0.5, 0.2, 0.9, 0.4],
    )


def policy_weights(context):
    """Copies of the engine's parameters, whole."""
    from apo_core.training.policy_copy import gathered

    with gathered(context.engine):
        return [parameter.detach().float().clone() for parameter in context.engine.module.parameters()]


def unchanged(context, before) -> bool:
    """Whether the engine's parameters equal those copied `before`."""
    import torch

    return all(torch.equal(old, new) for old, new in zip(before, policy_weights(context), strict=True))


class Failing:
    """A scorer that fails on the responses at `positions`, and gives all others the reward 0.5."""

    def __init__(self, *positions: int) -> None:
        self.positions = positions

    def score(self, attempts):
        from apo_core.verifiers import Verdict

        return [
            Verdict(None, None, "error: of mine")
            if position in self.positions
            else Verdict(0.5, None, "half")
            for position in range(len(attempts))
        ]


def with_scorer(context, scorer, max_share: float = 0.9):
    """Return the training context with another scorer, and an error budget of `max_share` of four rows."""
    from apo_core.verifiers import ErrorBudget

    return replace(context, scorer=scorer, errors=ErrorBudget(max_share, rows=4))


def micro_batch(mask, **known):
    """A `MicroBatch` whose token ids are arbitrary: only its mask and the columns in `known` matter."""
    import torch

    from apo_core.model.micro_batch import MicroBatch

    known = {"scored": torch.ones(len(mask)).bool(), "rows": list(range(len(mask)))} | known
    return MicroBatch(token_ids=mask.long(), attended=mask, mask=mask, **known)
