"""How DeepSpeed adds up the gradients of an update's micro-batches, at every stage."""

import math

import pytest
import torch
from torch import nn

from apo_core.training.engine import start_engine

pytestmark = pytest.mark.needs_no_run

SIZE = 32


class Weighted(nn.Module):
    """A loss whose gradient is the number that it is called with, at every weight."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(SIZE, 1, bias=False)

    def forward(self, number):
        return self.linear(number.expand(SIZE)).sum()


def norm_after(engine, gradients):
    """Apply the sum of the gradients, and return its norm before clipping."""
    for position, gradient in enumerate(gradients):
        engine.set_gradient_accumulation_boundary(position + 1 == len(gradients))
        engine.backward(engine(torch.tensor([gradient], dtype=torch.bfloat16)))
    engine.step()
    return float(engine.get_global_grad_norm())


@pytest.mark.parametrize(
    ("zero_stage", "offload"),
    [(0, "none"), (1, "none"), (1, "optimizer"), (2, "none"), (2, "optimizer"), (3, "all")],
)
def test_small_bfloat16_gradients_are_not_lost_beside_a_large_one(zero_stage, offload):
    engine = start_engine(
        Weighted().to(torch.bfloat16),
        learning_rate=1e-3,
        adam_betas=(0.9, 0.999),
        weight_decay=0.0,
        max_grad_norm=1e9,
        dtype="bfloat16",
        zero_stage=zero_stage,
        offload=offload,
    )
    # bfloat16 has 8 bits: 1 + 1/512 is 1 there.
    for _ in range(2):  # the second sum begins at 0 again
        assert norm_after(engine, [1.0] + 256 * [1 / 512]) == pytest.approx(1.5 * math.sqrt(SIZE), rel=1e-3)
