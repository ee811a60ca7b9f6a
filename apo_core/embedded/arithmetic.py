"""The embedded task: chains such as `7+5-3=`, answered at once or step by step.

The hash of a chain decides whether it is a pre-training example, a training prompt or an evaluation prompt,
so the three pools never overlap, whatever the seeds.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from typing import Literal, NamedTuple

Pool = Literal["pretrain", "train", "eval"]
ALPHABET = "0123456789+-=#"


class Chain(NamedTuple):
    """A sum of signed operands, the first positive."""

    operands: tuple[int, ...]

    @property
    def prompt(self) -> str:
        """The question, such as `7+5-3=`."""
        first, *rest = self.operands
        return f"{first}{''.join(f'{operand:+d}' for operand in rest)}="

    @property
    def answer(self) -> int:
        """The sum, such as `9`."""
        return sum(self.operands)

    @property
    def worked(self) -> str:
        """The step-by-step completion, such as `7+5=12-3=9#9`."""
        total, steps = self.operands[0], str(self.operands[0])
        for operand in self.operands[1:]:
            total += operand
            steps += f"{operand:+d}={total}"
        return f"{steps}#{total}"

    def guess(self, off: int) -> str:
        """Make the completion that answers at once, such as `#9`, wrong by `off`."""
        return f"#{self.answer + off}"


def draw_chain(rng: random.Random, min_terms: int, max_terms: int, max_operand: int) -> Chain:
    """Draw a random chain."""
    count = rng.randint(min_terms, max_terms)
    signs = [1] + [rng.choice((1, -1)) for _ in range(count - 1)]
    return Chain(tuple(sign * rng.randint(1, max_operand) for sign in signs))


def pool_of(chain: Chain) -> Pool:
    """Assign a chain to its pool: 70% pre-training examples, 20% training and 10% evaluation prompts."""
    tenth = hashlib.sha256(chain.prompt.encode()).digest()[0] % 10
    return "pretrain" if tenth < 7 else "train" if tenth < 9 else "eval"


def chains(pool: Pool, seed: int, min_terms: int, max_terms: int, max_operand: int) -> Iterator[Chain]:
    """Yield endless random chains of a pool, with repetitions."""
    rng = random.Random(f"{pool}/{seed}")
    while True:
        chain = draw_chain(rng, min_terms, max_terms, max_operand)
        if pool_of(chain) == pool:
            yield chain


def distinct_chains(
    pool: Pool, count: int, seed: int, min_terms: int, max_terms: int, max_operand: int
) -> list[Chain]:
    """Draw `count` different chains of a pool.

    Raises:
        ValueError: 1000 times as many random chains do not have `count` different ones in the pool.
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
