"""The promotion rule: a pure decision from evidence, without any I/O."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import pandas as pd

from apo_core.errors import ApoError
from apo_core.evaluation.intervals import paired, paired_bootstrap

Outcome = Literal["promote", "hold", "reject"]


class Comparison(NamedTuple):
    """A candidate against another policy on the same prompts."""

    against: str
    gain: float
    low: float
    high: float  # paired 95% interval of the gain
    on: str | None = None  # the evaluation set; None for all prompts


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
    """Promote only what is shown to be better than everything it is compared with, and nowhere worse.

    A point estimate promotes luck: the lower end of the paired interval decides. A gain on all prompts may
    hide a loss on one set, which is not to be put into production unseen: a set whose interval lies below 0
    rejects. A set need not show a gain of its own, for which it may be too small; of s sets on which nothing
    has changed one is taken for worse with a chance of up to s times 2.5%.

    Args:
        comparisons: with the reference, and with the champion where there is one; on all prompts, and on
            each set where there are several.
        prompts: how many the evaluation is on.
        kl: of the candidate to the reference, in nats a response.
        min_prompts: below it nothing is decided.
        min_gain: the interval's lower end must be above it.
        max_kl: above it the candidate has left the reference too far behind.
    """
    if prompts < min_prompts:
        return Decision("hold", f"{prompts} evaluation prompts are too few, {min_prompts} are needed")
    overall = [comparison for comparison in comparisons if comparison.on is None]
    if not overall:
        return Decision("hold", "compared with nothing")
    if not kl <= max_kl:
        return Decision("reject", f"KL {kl:.3g} to the reference is above {max_kl:g}")
    for comparison in comparisons:
        if comparison.high < 0:
            place = "" if comparison.on is None else f" on {comparison.on}"
            return Decision("reject", f"worse than the {comparison.against}{place}: {_gain([comparison])}")
    for comparison in overall:
        if not comparison.low > min_gain:
            return Decision(
                "hold",
                f"not shown to be better than the {comparison.against} by more than {min_gain:g}: "
                f"{_gain([comparison])}",
            )
    names = " and the ".join(comparison.against for comparison in overall)
    return Decision("promote", f"better than the {names}: {_gain(overall)}")


def with_reference(evaluation: dict[str, Any]) -> list[Comparison]:
    """The comparisons in what `evaluation.summarise` returns: on all prompts and on each set."""
    blocks: dict[str | None, dict[str, Any]] = {None: evaluation, **evaluation["sets"]}
    found = []
    for name, block in blocks.items():
        low, high = block["gain_ci95"]
        found.append(Comparison("reference", block["gain"], low, high, name))
    return found


def compare_by_set(
    against: str, theirs: pd.Series[float], ours: pd.Series[float], sets: pd.Series[str], *, seed: int
) -> list[Comparison]:
    """Comparisons on all prompts that both have a reward on, and on each set where there are several.

    Args:
        against: names the other policy.
        theirs: its mean reward on each prompt, by prompt_id.
        ours: the candidate's.
        sets: the set of each prompt, by prompt_id.
        seed: of the bootstraps.

    Raises:
        ApoError: there is no such prompt.
    """
    theirs, ours = paired(theirs, ours)
    if ours.empty:
        raise ApoError(f"there is no prompt on which the candidate and the {against} both have a reward")
    set_of = sets[ours.index]
    names = sorted(set_of.unique()) if set_of.nunique() > 1 else []
    parts = [(None, ours.index), *((name, ours.index[set_of == name]) for name in names)]
    found = []
    for name, part in parts:
        low, high = paired_bootstrap(theirs[part], ours[part], seed=seed)
        found.append(Comparison(against, float((ours[part] - theirs[part]).mean()), low, high, name))
    return found


def _gain(comparisons: list[Comparison]) -> str:
    """The gains in words; of several, each says over what."""
    found = [(one.against, f"{one.gain:+.3f}", f"{one.low:+.3f} to {one.high:+.3f}") for one in comparisons]
    if len(found) == 1:
        ((_, gain, interval),) = found
        return f"pass@1 {gain}, 95% interval {interval}"
    return "pass@1 " + ", ".join(
        f"{gain} over the {against} (95% {interval})" for against, gain, interval in found
    )
