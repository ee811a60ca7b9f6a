"""Checkpoints: whole or absent, the last few and the best kept."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_model, save_model
from torch import nn

from apo_core.errors import ApoError
from apo_core.system.environment import weights_only
from apo_core.system.files import (
    hashes_below,
    read_json,
    remove,
    replacing,
    require_space,
    sha256_of_json,
    temporary_of,
    write_json,
)
from apo_core.training import ranks
from apo_core.training.metrics import StepMetrics, read_metrics, write_metrics

_ENGINE, _BESIDE, _METRICS, _STATE = "engine", "beside.safetensors", "metrics.jsonl", "state.json"


class Saved(NamedTuple):
    """A checkpoint on disk."""

    directory: Path
    step: int  # optimizer updates that are in it
    reward: float  # mean over the steps since the one before
    ranks: int  # that wrote it
    sha256: dict[str, str]  # of every file, by its path in the directory


class Checkpoints:
    """The checkpoints of one training run, in a directory that all ranks see.

    A checkpoint holds the engine (weights, optimizer), the module beside it if there is one, the step, and
    the metrics of all steps until then, which the guard is fed again. Data order and sampling noise
    are functions of seed and step, so nothing else decides how a run goes on.
    """

    def __init__(
        self, directory: Path, *, keep: int, min_free_mib: float, beside: nn.Module | None = None
    ) -> None:
        """The checkpoints in `directory`, of an engine and of a module `beside` it, whole on every rank."""
        self.directory = directory
        self.beside = beside
        self.keep = keep
        self.min_free_mib = min_free_mib

    def all(self) -> list[Saved]:
        """Complete checkpoints, oldest first."""
        return saved_in(self.directory)

    def save(self, engine: Any, step: int, reward: float, metrics: Sequence[StepMetrics] = ()) -> Path:
        """Write a checkpoint after checking that it fits, then drop those no longer kept.

        Args:
            engine: what is trained.
            step: optimizer updates that are in it.
            reward: mean over the steps since the one before.
            metrics: of all steps.

        Raises:
            DiskFull: there is too little space; nothing was written and older checkpoints are as they were.
        """
        ranks.first_only(lambda: self._require_space(engine.module, engine.zero_optimization_stage()))
        target = self.directory / _name(step)
        with _replacing_together(target) as temporary:
            frozen = _frozen(engine.module)
            engine.save_checkpoint(
                str(temporary), tag=_ENGINE, save_latest=False, exclude_frozen_parameters=frozen
            )
            ranks.first_only(lambda: self._save_beside(temporary, metrics))
            state = {"step": step, "reward": reward, "ranks": ranks.world_size()}
            ranks.barrier()  # all parts are there
            ranks.first_only(lambda: _write_state(temporary, state))
        ranks.first_only(self._prune)
        return target

    def restore_latest(self, engine: Any, *, at_most: int) -> int:
        """Load the newest checkpoint into the engine and return its step; 0 where there is none.

        Checkpoints of more than `at_most` steps are of a longer training than is asked for; they are deleted.
        So is a damaged one, and the one before it is taken.

        Raises:
            ApoError: it is in parts, for another number of ranks.
        """
        ranks.first_only(lambda: self._drop_longer(at_most))
        ranks.first_only(self._drop_damaged)
        saved = ranks.first_only(self.all)  # as one of them sees it: others may see a shared disk later
        if not saved:
            return 0
        whole = engine.zero_optimization_stage() == 0 and not engine.bfloat16_enabled()
        if saved[-1].ranks != ranks.world_size() and not whole:
            raise ApoError(
                f"{saved[-1].directory}: is in parts of {saved[-1].ranks} ranks; train.ranks must be that, "
                "or the training start anew (apo stage train --force)"
            )
        with data_only(), redirect_stdout(StringIO()):  # DeepSpeed prints what it is about to do
            loaded, _ = engine.load_checkpoint(
                str(saved[-1].directory), tag=_ENGINE, load_module_strict=not _frozen(engine.module)
            )
        if loaded is None:
            raise RuntimeError(f"{saved[-1].directory}: DeepSpeed loaded nothing")
        if self.beside is not None:
            load_model(self.beside, saved[-1].directory / _BESIDE)
        return saved[-1].step

    def restore_metrics(self, step: int, file: Path) -> list[StepMetrics]:
        """Write the metrics up to a checkpoint, as it holds them, to a file; none before the first one."""
        metrics = read_metrics(self.directory / _name(step) / _METRICS)
        write_metrics(file, metrics)
        return metrics

    def _save_beside(self, directory: Path, metrics: Sequence[StepMetrics]) -> None:
        write_metrics(directory / _METRICS, metrics)
        if self.beside is not None:
            save_model(self.beside, str(directory / _BESIDE))

    def _require_space(self, module: Any, zero_stage: int) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        tensors = () if self.beside is None else self.beside.state_dict().values()
        beside = sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 2**20
        require_space(
            self.directory, self.min_free_mib + _size_mib(module, zero_stage) + beside, "a checkpoint"
        )

    def _drop_longer(self, at_most: int) -> None:
        for checkpoint in self.all():
            if checkpoint.step > at_most:
                remove(checkpoint.directory)

    def _drop_damaged(self) -> None:
        """Delete damaged checkpoints, newest first, until one is whole: torch would load a damaged one."""
        for checkpoint in reversed(self.all()):
            damage = damage_of(checkpoint)
            if damage is None:
                return
            print(f"train: {checkpoint.directory}: {damage}; the checkpoint before it is taken", flush=True)
            remove(checkpoint.directory)

    def _prune(self) -> None:
        saved = self.all()
        best = max(saved, key=lambda checkpoint: checkpoint.reward)
        for checkpoint in saved[: -self.keep]:
            if checkpoint != best:
                remove(checkpoint.directory)


def saved_in(directory: Path) -> list[Saved]:
    """The complete checkpoints in a directory, oldest first; damaged ones too."""
    return [_read(state) for state in sorted(directory.glob(f"step-*/{_STATE}"))]


def _name(step: int) -> str:
    return f"step-{step:06d}"


def _write_state(directory: Path, state: dict[str, Any]) -> None:
    """Write what a checkpoint is, with the hashes of its files and of itself."""
    state = state | {"sha256": hashes_below(directory)}
    write_json(directory / _STATE, state | {"own_sha256": sha256_of_json(state)})


def _read(state: Path) -> Saved:
    try:
        record = read_json(state)
        if record.pop("own_sha256") == sha256_of_json(record):
            return Saved(state.parent, **record)
    except (ValueError, TypeError, KeyError, AttributeError):  # no JSON any more, or of another form
        pass
    return Saved(state.parent, step=-1, reward=-math.inf, ranks=0, sha256={})


def damage_of(checkpoint: Saved) -> str | None:
    """Say which file of a checkpoint is not as it was written; None where all are. Every byte is read."""
    if checkpoint.directory.name != _name(checkpoint.step):
        return f"{_STATE}: is damaged"
    actual = hashes_below(checkpoint.directory)
    actual.pop(_STATE, None)
    for file in sorted({*checkpoint.sha256, *actual}):
        recorded, present = checkpoint.sha256.get(file, "nothing"), actual.get(file, "nothing")
        if recorded != present:
            return f"{file}: is damaged: sha256 {recorded} is recorded, found {present}"
    return None


@contextmanager
def _replacing_together(target: Path) -> Iterator[Path]:
    """`replacing`, for a directory that every rank writes a part of."""
    with ExitStack() as first:
        if ranks.rank() == 0:
            temporary = first.enter_context(replacing(target))
            temporary.mkdir()
        else:
            temporary = temporary_of(target)
        ranks.barrier()  # it is there
        yield temporary
        ranks.barrier()  # all parts are


@contextmanager
def data_only() -> Iterator[None]:
    """Let `torch.load` make tensors, numbers and three records of DeepSpeed's in the block, and run no code.

    DeepSpeed asks for whole pickles; the variable overrules it.
    """
    from deepspeed.runtime.fp16.loss_scaler import LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    with weights_only(), torch.serialization.safe_globals([LossScaler, ZeroStageEnum, fragment_address]):
        yield


def _frozen(module: Any) -> bool:
    """Whether some weights are not trained: they are the reference's, and in no checkpoint."""
    return not all(parameter.requires_grad for parameter in module.parameters())


def _size_mib(module: Any, zero_stage: int) -> float:
    """Trained weights as they are, float32 masters (which ZeRO has of float32, too), and two Adam moments."""
    total = 0.0
    for parameter in module.parameters():
        count = getattr(parameter, "ds_numel", parameter.numel())  # ZeRO-3 holds a share and knows the whole
        masters = 4 if zero_stage or parameter.element_size() < 4 else 0
        total += parameter.requires_grad * count * (parameter.element_size() + masters + 8)
    return total / 2**20
