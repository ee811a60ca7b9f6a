"""The DeepSpeed engine that holds the policy, its optimizer and their precision."""

from __future__ import annotations

import logging
import os
import socket
from typing import Any

import torch
from torch import nn

from apo_core.errors import ApoError


def start_engine(
    model: nn.Module,
    *,
    batch_size: int,
    micro_batch_size: int,
    learning_rate: float,
    adam_betas: tuple[float, float],
    weight_decay: float,
    max_grad_norm: float,
    dtype: str,
    zero_stage: int,
) -> Any:
    """Wrap a module for training with AdamW at a constant rate; one optimizer update a batch.

    Micro-batches accumulate: with float32 or bfloat16 there is no loss scaling, and DeepSpeed divides each
    micro-batch's mean loss by their number, so the sum is the gradient of the batch's mean.

    Args:
        model: its forward returns what the loss is computed from.
        batch_size: prompts an update.
        micro_batch_size: responses a forward pass; divides `batch_size`.
        learning_rate: constant.
        adam_betas: of AdamW.
        weight_decay: decoupled.
        max_grad_norm: the global norm gradients are clipped to.
        dtype: "bfloat16" computes in bfloat16 over float32 master weights.
        zero_stage: what DeepSpeed partitions over ranks.

    Returns:
        A `deepspeed.DeepSpeedEngine`.
    """
    deepspeed = _import_deepspeed()
    _join_process_group()
    optimizer = torch.optim.AdamW(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=learning_rate,
        betas=adam_betas,
        weight_decay=weight_decay,
        fused=True,  # one pass over memory; DeepSpeed's own needs a toolchain on every host
    )
    engine, *_ = deepspeed.initialize(
        model=model,
        optimizer=optimizer,
        config={
            "train_batch_size": batch_size,
            "train_micro_batch_size_per_gpu": micro_batch_size,
            "gradient_clipping": max_grad_norm,
            "bf16": {"enabled": dtype == "bfloat16"},
            "zero_optimization": {"stage": zero_stage},
            "zero_allow_untested_optimizer": True,
            "steps_per_print": 10**9,
        },
    )
    return engine


def _import_deepspeed() -> Any:
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    import deepspeed

    if os.environ.get("WORLD_SIZE", "1") == "1":
        # Ranks on one machine share memory through an op that is compiled with g++; one rank needs neither.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    return deepspeed


def _join_process_group() -> None:
    """Stand alone as rank 0 of 1 where no launcher has said otherwise."""
    if torch.distributed.is_initialized():
        return
    if os.environ.get("WORLD_SIZE", "1") != "1":
        # Each rank would take the whole batch, and DeepSpeed would update more than once a batch.
        raise ApoError(f"training runs on one rank, WORLD_SIZE is {os.environ['WORLD_SIZE']}")
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", str(_free_port()))
    torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
