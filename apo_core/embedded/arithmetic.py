"""The embedded task: chains such as `7+5-3=`, answered at once or step by step.

A chain's own hash decides whether it may be a pre-training example, a training prompt or an evaluation
prompt, so the three can never overlap, whatever the seeds.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from typing import Literal, NamedTuple

Pool = Literal["pretrain", "train", "eval"]
ALPHABET = "0123456789+-=#"


class Chain(NamedTuple):
    """Signed operands; the first is positive."""

    operands: tuple[int, ...]

    @property
    def prompt(self) -> str:
        """Such as `7+5-3=`."""
        first, *rest = self.operands
        return f"{first}{''.join(f'{operand:+d}' for operand in rest)}="

    @property
    def answer(self) -> int:
        """Such as `9`."""
        return sum(self.operands)

    @property
    def worked(self) -> str:
        """Such as `7+5=12-3=9#9`."""
        total, steps = self.operands[0], str(self.operands[0])
        for operand in self.operands[1:]:
            total += operand
            steps += f"{operand:+d}={total}"
        return f"{steps}#{total}"

    def guess(self, off: int) -> str:
        """Such as `#9`, or that many off."""
        return f"#{self.answer + off}"


def draw_chain(rng: random.Random, min_terms: int, max_terms: int, max_operand: int) -> Chain:
    """One random chain."""
    count = rng.randint(min_terms, max_terms)
    signs = [1] + [rng.choice((1, -1)) for _ in range(count - 1)]
    return Chain(tuple(sign * rng.randint(1, max_operand) for sign in signs))


def pool_of(chain: Chain) -> Pool:
    """Seven tenths of all chains are for pre-training, two for training prompts, one for evaluation."""
    tenth = hashlib.sha256(chain.prompt.encode()).digest()[0] % 10
    return "pretrain" if tenth < 7 else "train" if tenth < 9 else "eval"


def chains(pool: Pool, seed: int, min_terms: int, max_terms: int, max_operand: int) -> Iterator[Chain]:
    """Endless chains of one pool, with repetitions."""
    rng = random.Random(f"{pool}/{seed}")
    while True:
        chain = draw_chain(rng, min_terms, max_terms, max_operand)
        if pool_of(chain) == pool:
            yield chain


def distinct_chains(
    pool: Pool, count: int, seed: int, min_terms: int, max_terms: int, max_operand: int
) -> list[Chain]:
    """The first `count` different chains of a pool.

    Raises:
        ValueError: the pool has too few; found by drawing 1000 times as many.
    """
    distinct: dict[Chain, None] = {}
    rng = random.Random(f"{pool}/{seed}")
    for _ in range(1000 * count):
        chain = draw_chain(rng, min_terms, max_terms, max_operand)
        if pool_of(chain) == pool:
            distinct.setdefault(chain)
        if len(distinct) == count:
            return list(distinct)
    raise ValueError(f"only {len(distinct)} different {pool} chains exist, {count} are asked for")
