"""The promotion rule: a pure decision from evidence, without any I/O."""

from __future__ import annotations

from typing import Literal, NamedTuple

Outcome = Literal["promote", "hold", "reject"]


class Comparison(NamedTuple):
    """A candidate against another policy on the same prompts."""

    against: str
    gain: float
    low: float
    high: float  # paired 95% interval of the gain


class Decision(NamedTuple):
    """What to do with a candidate, and why, in words a person can read."""

    outcome: Outcome
    reason: str


def decide(
    comparisons: list[Comparison],
    *,
    prompts: int,
    kl: float,
    min_prompts: int,
    min_gain: float,
    max_kl: float,
) -> Decision:
    """Promote only what is shown to be better than everything it is compared with.

    A point estimate promotes luck: the lower end of the paired interval decides.

    Args:
        comparisons: with the reference, and with the champion where there is one.
        prompts: how many the evaluation is on.
        kl: of the candidate to the reference, in nats a response.
        min_prompts: below it nothing is decided.
        min_gain: the interval's lower end must be above it.
        max_kl: above it the candidate has left the reference too far behind.
    """
    if prompts < min_prompts:
        return Decision("hold", f"{prompts} evaluation prompts are too few, {min_prompts} are needed")
    if not comparisons:
        return Decision("hold", "compared with nothing")
    if not kl <= max_kl:
        return Decision("reject", f"KL {kl:.3g} to the reference is above {max_kl:g}")
    for comparison in comparisons:
        if comparison.high < 0:
            return Decision("reject", f"worse than the {comparison.against}: {_gain(comparison)}")
    for comparison in comparisons:
        if not comparison.low > min_gain:
            return Decision(
                "hold",
                f"not shown to be better than the {comparison.against} by more than {min_gain:g}: "
                f"{_gain(comparison)}",
            )
    names = " and ".join(comparison.against for comparison in comparisons)
    return Decision("promote", f"better than the {names}: {'; '.join(map(_gain, comparisons))}")


def _gain(comparison: Comparison) -> str:
    return f"pass@1 {comparison.gain:+.3f}, 95% interval {comparison.low:+.3f} to {comparison.high:+.3f}"
