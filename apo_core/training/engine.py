"""The DeepSpeed engine that holds the policy, its optimizer and their precision."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import torch
from torch import nn

from apo_core.system.environment import use_cpu_accelerator
from apo_core.system.imports import hidden, quick_imports
from apo_core.training.ranks import join_ranks

_BUCKET = 2 * 10**8  # gradients or weights in one exchange: 400 MB in bfloat16, enough to fill any link


def start_engine(
    model: nn.Module,
    *,
    learning_rate: float,
    adam_betas: tuple[float, float],
    weight_decay: float,
    max_grad_norm: float,
    dtype: str,
    zero_stage: int,
    offload: str = "none",
    other_rates: Mapping[str, float] | None = None,
) -> Any:
    """Wrap a module for training with AdamW at a constant rate.

    The caller says which micro-batch is an update's last, and weighs their losses so that their sum is the
    rank's mean: with float32 or bfloat16 there is no loss scaling, and DeepSpeed adds nothing but the mean
    over ranks. Gradients are summed over micro-batches in float32, whatever they were computed in.

    Args:
        model: its forward returns what the loss is computed from.
        learning_rate: constant.
        adam_betas: AdamW's.
        weight_decay: AdamW's, decoupled.
        max_grad_norm: the global norm gradients are clipped to.
        dtype: "bfloat16" computes in bfloat16 over float32 master weights.
        zero_stage: what DeepSpeed partitions over ranks: nothing, optimizer, gradients too, weights too. In
            bfloat16 nothing is as optimizer.
        offload: what it keeps in the host's memory: "none", the "optimizer", or "all" of it (stage 3).
        other_rates: learning rates of submodules that have their own, by the submodules' names.

    Returns:
        A `deepspeed.DeepSpeedEngine`.
    """
    join_ranks()
    deepspeed = _import_deepspeed()
    precision = _precision(dtype, zero_stage)
    optimizer = torch.optim.AdamW(
        _groups(model, learning_rate, other_rates or {}),
        lr=learning_rate,
        betas=adam_betas,
        weight_decay=weight_decay,
        fused=True,  # one pass over memory; DeepSpeed's own needs a toolchain on every host
    )
    with redirect_stdout(StringIO()):  # it prints what memory is in use, at every part
        engine, *_ = deepspeed.initialize(
            model=model,
            optimizer=optimizer,
            config={
                # DeepSpeed counts nothing here: how many rows a micro-batch has differs.
                "train_micro_batch_size_per_gpu": 1,
                "gradient_accumulation_steps": 1,
                "gradient_clipping": max_grad_norm,
                **precision,
                "zero_optimization": _sharing(dtype, zero_stage) | _offloaded(offload),
                "zero_force_ds_cpu_optimizer": False,
                "zero_allow_untested_optimizer": True,
                "steps_per_print": 10**9,
            },
        )
    # To make its state DeepSpeed may have had it take a step without gradients: that one does not count.
    for state in optimizer.state.values():
        state["step"].zero_()
    by_engine = zero_stage < 2 and not hasattr(engine.optimizer, "reduce_gradients")
    if by_engine and torch.distributed.get_world_size() == 1:
        engine.enable_backward_allreduce = False  # it would copy all gradients to add them up over one rank
    return engine


def _precision(dtype: str, zero_stage: int) -> dict[str, Any]:
    """DeepSpeed's settings of precision: gradients of bfloat16 are summed over micro-batches in float32.

    In bfloat16 a sum of many micro-batches' gradients stands still once it is 256 times one of them. Below
    stage 2 the whole sum is what ranks exchange, so it goes in float32 too; from there on every micro-batch's
    gradient is exchanged by itself, as it was computed (deepspeed/runtime/zero/stage_1_and_2.py, stage3.py).
    """
    if dtype != "bfloat16":
        return {}
    precision = {
        "bf16": {"enabled": True, "immediate_grad_update": True},  # no gradient is held in both precisions
        "data_types": {"grad_accum_dtype": "fp32"},
    }
    return precision | ({"communication_data_type": "fp32"} if zero_stage < 2 else {})


def _sharing(dtype: str, zero_stage: int) -> dict[str, Any]:
    """What ranks share, and how gradients are exchanged: while the backward pass goes on, in small buckets.

    DeepSpeed has no float32 sums for bfloat16 at stage 0 (`_do_optimizer_sanity_check` in its engine.py).
    """
    return {
        "stage": max(zero_stage, 1) if dtype == "bfloat16" else zero_stage,
        # Stage 3 also reads weights ahead, on one rank from the host's memory. Two buckets are held for it.
        "overlap_comm": zero_stage == 3 or (zero_stage == 2 and torch.distributed.get_world_size() > 1),
        "reduce_scatter": True,
        "contiguous_gradients": True,
        "reduce_bucket_size": _BUCKET,
        "allgather_bucket_size": _BUCKET,
    }


def _groups(model: nn.Module, rate: float, others: Mapping[str, float]) -> list[dict[str, Any]]:
    """Trained parameters by the rate they learn at, the model's own first."""
    groups: dict[str, list[nn.Parameter]] = {"": [], **{name: [] for name in others}}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            within = next((other for other in others if name.startswith(f"{other}.")), "")
            groups[within].append(parameter)
    return [{"params": parameters, "lr": others.get(name, rate)} for name, parameters in groups.items()]


def _import_deepspeed() -> Any:
    if not torch.cuda.is_available():
        use_cpu_accelerator()
    with quick_imports(), hidden("mlflow"):  # its autotuner's: three quarters of the time, 40 MiB
        import deepspeed

    # Ranks on one processor would exchange through an op compiled with g++; gloo needs no compiler. Nothing
    # else reads this list (deepspeed/comm/torch.py:49), which is made on first use by compiling test programs
    # and running nvcc, once per op (deepspeed/ops/__init__.py:16).
    deepspeed.ops.__compatible_ops__ = {}
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    # ZeRO-3 calls what torch has given a new name, at every step.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
    return deepspeed


def _offloaded(what: str) -> dict[str, Any]:
    host = {"device": "cpu", "pin_memory": torch.cuda.is_available()}
    optimizer = {} if what == "none" else {"offload_optimizer": host}
    return optimizer | ({"offload_param": host} if what == "all" else {})
