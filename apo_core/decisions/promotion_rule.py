"""The promotion rule: whether a trained policy becomes a candidate. Pure functions, without any I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import pandas as pd

from apo_core.errors import ApoError
from apo_core.evaluation.schema import Evaluation, Gain

Outcome = Literal["promote", "hold", "reject"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The gain of a policy over another policy on the same prompts."""

    against: str  # names the other policy
    gain: float  # difference of the mean rewards
    low: float
    high: float  # ends of the paired 95% interval of the gain
    on: str | None = None  # the evaluation set; None for all prompts
    score: str = "pass@1"  # what the mean reward is called


class PromotionDecision(NamedTuple):
    """What to do with a trained policy, and why, in words a person can read."""

    outcome: Outcome
    reason: str


def decide_promotion(
    comparisons: list[Comparison],
    *,
    prompts: int,
    kl: float,
    min_prompts: int,
    min_gain: float,
    max_kl: float,
) -> PromotionDecision:
    """Promote only a policy that is shown to be better than every other policy, and worse on no set.

    A point estimate promotes luck: the lower end of the paired interval decides. A gain on all prompts may
    hide a loss on one set, so a set whose interval lies below 0 rejects the policy. A set need not show a
    gain of its own, because it may be too small for that. The price: with s sets on which nothing has
    changed, one of them looks worse by chance with a probability of up to s times 2.5%.

    Args:
        comparisons: with the reference policy, and with the champion if there is one; each on all prompts,
            and on each set if there are several.
        prompts: number of evaluation prompts.
        kl: KL divergence of the policy from the reference policy, in nats per response.
        min_prompts: with fewer prompts the policy is held.
        min_gain: the lower end of each interval on all prompts must be above it.
        max_kl: a policy with a larger KL is rejected.
    """
    if prompts < min_prompts:
        return PromotionDecision(
            "hold", f"{prompts} evaluation prompts are too few, {min_prompts} are needed"
        )
    overall = [comparison for comparison in comparisons if comparison.on is None]
    if not overall:
        return PromotionDecision("hold", "compared with nothing")
    if not kl <= max_kl:
        return PromotionDecision("reject", f"KL {kl:.3g} to the reference is above {max_kl:g}")
    for comparison in comparisons:
        if comparison.high < 0:
            where = "" if comparison.on is None else f" on {comparison.on}"
            gain = _gains_in_words([comparison])
            return PromotionDecision("reject", f"worse than the {comparison.against}{where}: {gain}")
    for comparison in overall:
        if not comparison.low > min_gain:
            return PromotionDecision(
                "hold",
                f"not shown to be better than the {comparison.against} by more than {min_gain:g}: "
                f"{_gains_in_words([comparison])}",
            )
    names = " and the ".join(comparison.against for comparison in overall)
    return PromotionDecision("promote", f"better than the {names}: {_gains_in_words(overall)}")


def compare_with_reference(evaluation: Evaluation) -> list[Comparison]:
    """Take the comparisons from an evaluation: on all prompts and on each set."""
    blocks: list[tuple[str | None, Gain]] = [(None, evaluation), *evaluation.sets.items()]
    comparisons = []
    for name, block in blocks:
        low, high = block.gain_ci95
        comparisons.append(
            Comparison(
                against="reference",
                gain=block.gain,
                low=low,
                high=high,
                on=name,
                score=block.policy.mean_name,
            )
        )
    return comparisons


def compare_by_set(
    against: str,
    theirs: pd.Series[float],
    ours: pd.Series[float],
    sets: pd.Series[str],
    *,
    seed: int,
    score: str = "pass@1",
) -> list[Comparison]:
    """Compare two policies on all prompts for which both have a reward, and on each set if there are several.

    Args:
        against: names the other policy.
        theirs: the other policy's mean reward on each prompt, by prompt_id.
        ours: the mean reward of the policy that may be promoted, by prompt_id.
        sets: the set of each prompt, by prompt_id.
        seed: of the bootstraps.
        score: what the mean reward is called.

    Raises:
        ApoError: there is no such prompt.
    """
    # Here, because it takes scipy, which commands and hooks do without.
    from apo_core.evaluation.intervals import paired, paired_bootstrap

    theirs, ours = paired(theirs, ours)
    if ours.empty:
        raise ApoError(f"there is no prompt on which the candidate and the {against} both have a reward")
    set_of = sets[ours.index]
    names = sorted(set_of.unique()) if set_of.nunique() > 1 else []
    parts = [(None, ours.index), *((name, ours.index[set_of == name]) for name in names)]
    comparisons = []
    for name, part in parts:
        low, high = paired_bootstrap(theirs[part], ours[part], seed=seed)
        gain = float((ours[part] - theirs[part]).mean())
        comparisons.append(Comparison(against=against, gain=gain, low=low, high=high, on=name, score=score))
    return comparisons


def _gains_in_words(comparisons: list[Comparison]) -> str:
    """Spell out one gain, or several gains each with the policy it is over."""
    if len(comparisons) == 1:
        (only,) = comparisons
        return f"{only.score} {only.gain:+.3f}, 95% interval {only.low:+.3f} to {only.high:+.3f}"
    return f"{comparisons[0].score} " + ", ".join(
        f"{comparison.gain:+.3f} over the {comparison.against} "
        f"(95% {comparison.low:+.3f} to {comparison.high:+.3f})"
        for comparison in comparisons
    )
