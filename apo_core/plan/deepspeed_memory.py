"""What DeepSpeed 0.19.8 holds of parameters that train, as `apo_core.training.engine` configures it.

A plain function for each of its optimizers; files named below are those of `deepspeed/runtime`. P trained
parameters, R ranks, p = P / R of them on each.
"""

from __future__ import annotations

from dataclasses import dataclass

from apo_core.plan.items import BYTES, MIB, Item, Phase

ADAM = 8  # bytes of two float32 moments per parameter
_BUCKET = 200_000_000  # numbers in a bucket of gradients: `_BUCKET` of `apo_core.training.engine`
_FLAT = 500_000_000  # gradients that are reduced in one flat copy without ZeRO: `MEMORY_OPT_ALLREDUCE_SIZE`
_LIVE = 1_000_000_000  # parameters that ZeRO-3 gathers ahead: `max_live_parameters`, zero/config.py:245
_SUB_GROUP = 1_000_000_000  # parameters that ZeRO-3 steps at once: `sub_group_size`, zero/config.py:182
_NORM = 8  # bytes: the norm of a gradient is taken of a float64 copy, zero/stage_1_and_2.py:2684


@dataclass(frozen=True, kw_only=True)
class Partitions:
    """What decides how DeepSpeed divides a training."""

    trained: int  # P
    largest: int  # numbers in the largest of them
    ranks: int  # R
    zero_stage: int
    dtype: str  # bfloat16 has float32 masters, and float32 sums of gradients
    offload: str  # "none", "optimizer" or "all" of it is in the host's memory
    on_host: bool = False  # there is no GPU: buckets are of pages that are never touched

    @property
    def own(self) -> float:
        """Parameters that a rank's optimizer steps, with ZeRO: p."""
        return self.trained / self.ranks

    @property
    def bytes(self) -> int:
        """Bytes per weight."""
        return BYTES[self.dtype]


def checkpoint_bytes(dtype: str, zero_stage: int) -> int:
    """Bytes of a checkpoint per trained parameter: weights, moments, and masters where there are any."""
    masters = 4 if dtype == "bfloat16" or zero_stage else 0
    return BYTES[dtype] + masters + ADAM


def deepspeed_items(parts: Partitions) -> list[Item]:
    """List what the optimizer, its masters, gradients and buckets take on one rank, beside the weights."""
    if parts.zero_stage == 3:
        return _partitioned_weights(parts)
    if parts.zero_stage == 2 or parts.offload != "none":
        return _partitioned_gradients(parts)
    if parts.dtype == "bfloat16":
        return _bf16_optimizer(parts)
    return _partitioned_optimizer(parts) if parts.zero_stage else _whole(parts)


def _whole(parts: Partitions) -> list[Item]:
    """AdamW of torch itself, in float32 (engine.py:2315); gradients end with the step (engine.py:3531).

    Ranks reduce flat copies of gradients (engine.py:3073), half a billion numbers each.
    """
    copies = min(_FLAT, parts.trained) * 4 if parts.ranks > 1 else 0
    return [
        _item("optimizer", parts.trained * ADAM),
        _item("gradients", parts.trained * 4, "learning"),
        _item("reduced gradients", copies, "update"),
    ]


def _bf16_optimizer(parts: Partitions) -> list[Item]:
    """BF16_Optimizer, which stages 0 and 1 are in bfloat16 (engine.py:2305).

    Every rank keeps a float32 gradient of all parameters from the start (bf16_optimizer.py:191). One of a
    layer is added to it as soon as it is there, and ends (`immediate_grad_update`, bf16_optimizer.py:715).
    """
    copies = min(_FLAT, parts.trained) * 4 if parts.ranks > 1 else 0
    return [
        _item("master weights", parts.own * 4),
        _item("optimizer", parts.own * ADAM),
        _item("gradients", parts.trained * 4),
        _item("largest gradient", parts.largest * parts.bytes, "update"),
        _item("reduced gradients", copies, "update"),
    ]


def _partitioned_optimizer(parts: Partitions) -> list[Item]:
    """DeepSpeedZeroOptimizer at stage 1, in float32: gradients are whole until the step.

    Of float32 weights too the rank's part is cloned as their master (zero/stage_1_and_2.py:560).
    """
    return [
        _item("master weights", parts.own * 4),
        _item("optimizer", parts.own * ADAM),
        _item("gradients", parts.trained * 4, "learning"),
        *_buckets(parts),
        _flat_copies(parts),
    ]


def _partitioned_gradients(parts: Partitions) -> list[Item]:
    """DeepSpeedZeroOptimizer at stage 2, or with its optimizer in the host's memory.

    float32 gradients of bfloat16 weights are one flat buffer (zero/stage_1_and_2.py:1268), which the step
    takes as it is (3107); those of float32 weights are flattened (3114). Without float32 sums the step
    would flatten and cast: 6 bytes more for every parameter of the rank.
    """
    if parts.offload != "none":
        return [*_on_host(parts), *_buckets(parts), _item("largest gradient", parts.largest * parts.bytes)]
    return [
        _item("master weights", parts.own * 4),
        _item("optimizer", parts.own * ADAM),
        _item("gradients", parts.own * 4, "learning"),
        *_buckets(parts),
        _norm(parts) if parts.dtype == "bfloat16" else _flat_copies(parts),
    ]


def _partitioned_weights(parts: Partitions) -> list[Item]:
    """DeepSpeedZeroOptimizer_Stage3: a flat gradient buffer and a bucket stay (zero/stage3.py:779-795).

    The step flattens a sub-group's gradients (stage3.py:2686).
    """
    bucket = 0 if parts.on_host else _BUCKET * parts.bytes
    gathered = min(_LIVE, parts.trained) * parts.bytes if parts.ranks > 1 else 0
    work = [_item("bucket of gradients", bucket), _item("layers gathered ahead", gathered, "update")]
    if parts.offload != "none":
        return [*_on_host(parts), *work]
    stepped = min(parts.own, _SUB_GROUP)
    return [
        _item("master weights", parts.own * 4),
        _item("optimizer", parts.own * ADAM),
        _item("gradients", parts.own * 4),
        _item("flat gradients of the step", stepped * 4, "step"),
        *work,
    ]


def _on_host(parts: Partitions) -> list[Item]:
    """Masters, moments, float32 gradients, those that add up, and the weights' way back, page-locked.

    zero/stage_1_and_2.py:560-569, 937 and 1822.
    """
    per_parameter = 4 + ADAM + 4 + 4 + parts.bytes
    return [Item("optimizer in the host's memory", parts.own * per_parameter / MIB, "always", "host")]


def _buckets(parts: Partitions) -> list[Item]:
    """Buckets of gradients (zero/stage_1_and_2.py:3256-3278), and the flat copy that is reduced (2367)."""
    if parts.on_host:
        return [_item("buckets of gradients", 2 * min(_BUCKET, parts.trained) * parts.bytes, "update")]
    overlapped = parts.zero_stage == 2 and parts.ranks > 1
    buckets = (2 if overlapped else 1) * _BUCKET * parts.bytes
    return [_item("buckets of gradients", buckets + min(_BUCKET, parts.trained) * parts.bytes, "update")]


def _flat_copies(parts: Partitions) -> Item:
    """They are made when the norm is known, of which the copy is gone."""
    size = max(parts.own * 4, _norm_bytes(parts))
    return _item("flat gradients of the step", size, "step")


def _norm(parts: Partitions) -> Item:
    return _item("float64 copy for the norm", _norm_bytes(parts), "step")


def _norm_bytes(parts: Partitions) -> float:
    return min(parts.largest, parts.own) * _NORM


def _item(name: str, size: float, phase: Phase = "always") -> Item:
    return Item(name, size / MIB, phase)
