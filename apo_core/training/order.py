"""Which prompts a step trains on: a pure function, so a resumed run needs no stored data order."""

from __future__ import annotations

import numpy as np


def batch_at(step: int, *, count: int, batch_size: int, seed: int) -> list[int]:
    """Indices of the prompts of one step.

    The batches cut an endless row of permutations, one an epoch, so every batch is full and every prompt is
    seen once before any is seen again.

    Args:
        step: counted from 0.
        count: prompts in the training set.
        batch_size: prompts a step; may exceed `count`.
        seed: of the permutations.

    Returns:
        `batch_size` indices below `count`.
    """
    positions = range(step * batch_size, (step + 1) * batch_size)
    epochs = sorted({position // count for position in positions})
    permutations = {epoch: np.random.default_rng([seed, epoch]).permutation(count) for epoch in epochs}
    return [int(permutations[position // count][position % count]) for position in positions]
