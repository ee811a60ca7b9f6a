"""DeepSpeed on the device: every ZeRO stage learns what AdamW learns on the CPU; resumed runs go on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from apo_core.model.log_probs import ResponseLogProbs
from apo_core.model.micro_batch import MicroBatch, pad_responses
from apo_core.training.ranks import join_ranks, world_size
from gpu.check import Finding, at_most
from gpu.models import on_device, random_rows, tiny_model

_ADAM: dict[str, Any] = {"betas": (0.9, 0.95), "weight_decay": 0.1}
_RATE = 1e-3
_STEPS = 3


def zero_stages(device: str) -> Iterator[Finding]:
    """Three updates at every stage and precision; on as many ranks as a launcher has started."""
    join_ranks()  # before a model goes to this rank's GPU
    expected, ranks = _updates_of_adamw(), world_size()
    for dtype, limit in (("float32", 2e-2), ("bfloat16", 0.3)):
        for stage in (0, 1, 2, 3):
            engine = _engine(device, dtype, stage)
            before = _weights(engine)
            for step in range(_STEPS):
                _update(engine, step)
            change = _weights(engine) - before
            yield at_most(
                f"ZeRO {stage}, {dtype}, ranks {ranks}: {_STEPS} updates, relative difference from AdamW's",
                float((change - expected).norm() / expected.norm()),
                limit,
            )
            engine.destroy()


def resume(device: str) -> Iterator[Finding]:
    """From a checkpoint the next updates are the undisturbed training's."""
    from apo_core.training.checkpoint import Checkpoints

    for dtype, stage in (("float32", 0), ("bfloat16", 0), ("bfloat16", 2)):
        with tempfile.TemporaryDirectory() as directory:
            checkpoints = Checkpoints(Path(directory), keep=1, min_free_mib=0)
            undisturbed = _engine(device, dtype, stage)
            for step in range(4):
                if step == 2:
                    checkpoints.save(undisturbed, step, reward=0.0)
                _update(undisturbed, step)
            resumed = _engine(device, dtype, stage)
            first = checkpoints.restore_latest(resumed, at_most=4)
            for step in range(first, 4):
                _update(resumed, step)
            difference = (_weights(resumed) - _weights(undisturbed)).abs().max()
        yield at_most(
            f"resumed at step {first} of 4, {dtype}, ZeRO {stage}: largest difference of a weight",
            float(difference),
            0.0 if device == "cpu" else 1e-4,
        )


def _engine(device: str, dtype: str, stage: int) -> Any:
    from apo_core.training.engine import start_engine

    return start_engine(
        ResponseLogProbs(on_device(tiny_model(), device, dtype), temperature=1.0),
        learning_rate=_RATE,
        adam_betas=_ADAM["betas"],
        weight_decay=_ADAM["weight_decay"],
        max_grad_norm=1e9,
        dtype=dtype,
        zero_stage=stage,
    )


def _update(engine: Any, step: int) -> None:
    engine.train()
    engine.backward(_loss(engine, _batch(step, engine.device)))
    engine.step()


def _updates_of_adamw() -> torch.Tensor:
    """What the same updates change on the CPU, in float32, without DeepSpeed."""
    module = ResponseLogProbs(on_device(tiny_model(), "cpu"), temperature=1.0)
    before = torch.cat([parameter.detach().flatten().clone() for parameter in module.parameters()])
    optimizer = torch.optim.AdamW(module.parameters(), lr=_RATE, **_ADAM)
    for step in range(_STEPS):
        optimizer.zero_grad()
        _loss(module, _batch(step, torch.device("cpu"))).backward()
        optimizer.step()
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()]) - before


def _loss(module: Any, batch: MicroBatch) -> torch.Tensor:
    """A regression like A*-PO's: some responses become likelier, some less likely."""
    sums = (module(*batch.inputs) * batch.mask).sum(-1)
    targets = torch.linspace(-1.0, 1.0, len(sums), device=sums.device)
    return (0.1 * (sums - sums.detach()) - targets).square().mean()


def _batch(step: int, device: torch.device) -> MicroBatch:
    prompts = random_rows(8, shortest=3, longest=20, seed=2 * step)
    return pad_responses(prompts, random_rows(8, shortest=2, longest=20, seed=2 * step + 1), 0, device)


def _weights(engine: Any) -> torch.Tensor:
    """All weights in one vector, on the CPU; the float32 masters where there are any, gathered from ranks."""
    from deepspeed.utils import safe_get_full_fp32_param

    parts = []
    for parameter in engine.module.parameters():
        whole = safe_get_full_fp32_param(parameter)
        parts.append((parameter if whole is None else whole).detach().float().cpu().flatten())
    return torch.cat(parts)
