"""DeepSpeed's partitions: by hand, and against the tensors that its optimizers really hold."""

import gc

import pytest
import torch

from apo_core.plan.deepspeed_memory import Partitions, deepspeed_items
from apo_core.plan.items import MIB, peak_mib
from apo_core.training.engine import _import_deepspeed
from apo_core.training.ranks import join_ranks

SIZE = 512  # of a square layer
P = 2 * SIZE * SIZE


def partitions(zero_stage, dtype, *, ranks=4, trained=1000, largest=400, offload="none", on_host=True):
    return Partitions(
        trained=trained,
        largest=largest,
        ranks=ranks,
        zero_stage=zero_stage,
        dtype=dtype,
        offload=offload,
        on_host=on_host,
    )


def sizes(parts):
    """Bytes by name."""
    return {item.name: round(item.mib * MIB) for item in deepspeed_items(parts)}


# 1,000 parameters on 4 ranks are 250 on each; the largest has 400.
@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (partitions(0, "float32"), {"optimizer": 8000, "gradients": 4000, "reduced gradients": 4000}),
        (
            partitions(1, "bfloat16"),
            {
                "master weights": 1000,
                "optimizer": 2000,
                "gradients": 4000,  # float32, of all parameters
                "largest gradient": 800,
                "reduced gradients": 4000,
            },
        ),
        (
            partitions(1, "float32"),
            {
                "master weights": 1000,
                "optimizer": 2000,
                "gradients": 4000,
                "buckets of gradients": 8000,
                "flat gradients of the step": 2000,
            },
        ),
        (
            partitions(2, "bfloat16"),
            {
                "master weights": 1000,
                "optimizer": 2000,
                "gradients": 1000,
                "buckets of gradients": 4000,
                "float64 copy for the norm": 2000,
            },
        ),
        (
            partitions(2, "float32"),
            {
                "master weights": 1000,  # a clone, though the weights are float32 already
                "optimizer": 2000,
                "gradients": 1000,
                "buckets of gradients": 8000,
                "flat gradients of the step": 2000,  # the norm's float64 copy is more than 1,000
            },
        ),
        (
            partitions(3, "bfloat16"),
            {
                "master weights": 1000,
                "optimizer": 2000,
                "gradients": 1000,
                "flat gradients of the step": 1000,
                "bucket of gradients": 0,
                "layers gathered ahead": 2000,
            },
        ),
        (
            partitions(2, "bfloat16", offload="optimizer"),
            {"optimizer in the host's memory": 5500, "buckets of gradients": 4000, "largest gradient": 800},
        ),
    ],
)
def test_bytes_by_hand(parts, expected):
    assert sizes(parts) == expected


def test_without_zero_bfloat16_is_as_with_its_first_stage():
    assert sizes(partitions(0, "bfloat16")) == sizes(partitions(1, "bfloat16"))


def test_buckets_are_whole_on_gpus():
    """1,000 parameters, and buckets of 200 million numbers, two of them where ranks take turns with them."""
    one_rank, four_ranks = (partitions(2, "bfloat16", ranks=ranks, on_host=False) for ranks in (1, 4))
    assert sizes(one_rank)["buckets of gradients"] == 4 * 10**8 + 2000
    assert sizes(four_ranks)["buckets of gradients"] == 8 * 10**8 + 2000


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_more_ranks_never_hold_more(stage, dtype):
    of_two, of_four = (peak_mib(deepspeed_items(partitions(stage, dtype, ranks=ranks))) for ranks in (2, 4))
    assert of_four <= of_two


def live_bytes():
    gc.collect()
    storages = {}
    for thing in gc.get_objects():
        if type(thing) in (torch.Tensor, torch.nn.Parameter):
            storages[thing.untyped_storage().data_ptr()] = thing.untyped_storage().nbytes()
    return sum(storages.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("zero_stage", "dtype"),
    [(0, "float32"), (1, "float32"), (1, "bfloat16"), (2, "float32"), (2, "bfloat16"), (3, "bfloat16")],
)
def test_what_is_planned_is_what_lives(zero_stage, dtype):
    """After a step: what is always held. Before the optimizer's own step: not more than the planned peak."""
    join_ranks()
    deepspeed = _import_deepspeed()
    before = live_bytes()
    model = torch.nn.Sequential(*(torch.nn.Linear(SIZE, SIZE, bias=False) for _ in range(2)))
    optimizer = torch.optim.AdamW(model.parameters())
    precision = {
        "bf16": {"enabled": True, "immediate_grad_update": True},
        "data_types": {"grad_accum_dtype": "fp32"},
    }
    engine, *_ = deepspeed.initialize(
        model=model.to(getattr(torch, dtype)),
        optimizer=optimizer,
        config={
            "train_micro_batch_size_per_gpu": 1,
            "gradient_clipping": 1.0,
            "zero_optimization": {"stage": zero_stage, "reduce_bucket_size": P},
            "zero_force_ds_cpu_optimizer": False,
            "zero_allow_untested_optimizer": True,
            "steps_per_print": 10**9,
            **(precision if dtype == "bfloat16" else {}),
        },
    )
    seen = []
    optimizer.register_step_pre_hook(lambda *_: seen.append(live_bytes() - before))
    for _ in range(2):
        engine.backward(engine(torch.ones(1, SIZE, dtype=getattr(torch, dtype))).float().sum())
        engine.step()
    engine.zero_grad()
    held = live_bytes() - before
    weights = P * (4 if dtype == "float32" else 2)
    items = deepspeed_items(partitions(zero_stage, dtype, ranks=1, trained=P, largest=SIZE * SIZE))
    always = sum(item.mib for item in items if item.phase == "always") * MIB
    learning = sum(item.mib for item in items if item.phase in ("learning", "step")) * MIB
    engine.destroy()
    # DeepSpeed keeps its last layer's gradient, ZeRO-3 a bucket, which is never touched here.
    kept = 4 * SIZE * SIZE
    assert weights + always <= held <= 1.01 * (weights + always) + kept
    assert held <= seen[-1] <= 1.01 * (weights + always + learning) + kept
