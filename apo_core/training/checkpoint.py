"""Checkpoints: whole or absent, the last few and the best kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from apo_core.files import read_json, remove, replacing, require_space, write_json

_ENGINE = "engine"


class Saved(NamedTuple):
    """A checkpoint on disk."""

    directory: Path
    step: int  # optimizer updates that are in it
    reward: float  # mean over the steps since the one before


class Checkpoints:
    """The checkpoints of one training run.

    A checkpoint holds the engine (weights, optimizer) and the step. Data order and sampling noise are
    functions of seed and step, so nothing else decides how a run goes on.
    """

    def __init__(self, directory: Path, *, keep: int, min_free_mib: float) -> None:
        self.directory = directory
        self.keep = keep
        self.min_free_mib = min_free_mib

    def all(self) -> list[Saved]:
        """Complete checkpoints, oldest first."""
        states = sorted(self.directory.glob("step-*/state.json"))
        return [Saved(state.parent, **read_json(state)) for state in states]

    def save(self, engine: Any, step: int, reward: float) -> Path:
        """Write a checkpoint after checking that it fits, then drop those no longer kept.

        Raises:
            DiskFull: there is too little space; nothing was written and older checkpoints are as they were.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        require_space(self.directory, self.min_free_mib + _size_mib(engine.module), "a checkpoint")
        target = self.directory / f"step-{step:06d}"
        with replacing(target) as temporary:
            engine.save_checkpoint(str(temporary), tag=_ENGINE, save_latest=False)
            write_json(temporary / "state.json", {"step": step, "reward": reward})
        self._prune()
        return target

    def restore_latest(self, engine: Any, *, at_most: int) -> int:
        """Load the newest checkpoint into the engine and return its step; 0 where there is none.

        Checkpoints of more than `at_most` steps are of a longer training than is asked for: they go.
        """
        for checkpoint in self.all():
            if checkpoint.step > at_most:
                remove(checkpoint.directory)
        saved = self.all()
        if not saved:
            return 0
        with _data_only():
            loaded, _ = engine.load_checkpoint(str(saved[-1].directory), tag=_ENGINE)
        if loaded is None:
            raise RuntimeError(f"{saved[-1].directory}: DeepSpeed loaded nothing")
        return saved[-1].step

    def _prune(self) -> None:
        saved = self.all()
        best = max(saved, key=lambda checkpoint: checkpoint.reward)
        for checkpoint in saved[: -self.keep]:
            if checkpoint != best:
                remove(checkpoint.directory)


@contextmanager
def _data_only() -> Iterator[None]:
    """Let `torch.load` make tensors, numbers and three records of DeepSpeed's in the block, and run no code.

    DeepSpeed asks for whole pickles; the variable overrules it.
    """
    from deepspeed.runtime.fp16.loss_scaler import LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        with torch.serialization.safe_globals([LossScaler, ZeroStageEnum, fragment_address]):
            yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _size_mib(module: Any) -> float:
    """Weights in their own precision, and float32 masters with two Adam moments."""
    return float(sum(p.numel() * (p.element_size() + 12) for p in module.parameters()) / 2**20)
