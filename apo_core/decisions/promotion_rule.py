"""The promotion rule: whether a trained policy becomes a candidate. Pure functions, without any I/O."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

Outcome = Literal["promote", "hold", "reject"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The gain of a policy over another policy on the same prompts."""

    against: str  # names the other policy
    gain: float  # difference of the mean rewards
    low: float
    high: float  # ends of the paired interval of the gain
    alpha: float = 0.05  # chance that the true gain lies outside of the interval
    on: str | None = None  # the evaluation set; None for all prompts
    only_vetoes: bool = False  # on all prompts: another comparison is the one that a promotion rests on
    score: str = "pass@1"  # what the mean reward is called
    counted_against: int = 0  # responses without a reward, counted wrong for the policy, right for the other
    # The same comparison with such responses counted so; None if the verifier failed on none.
    worst: Self | None = None

    @property
    def level(self) -> str:
        """Name the confidence level of the interval, as `95%`."""
        return level_in_words(self.alpha)


def level_in_words(alpha: float) -> str:
    """Name the confidence level 1 - alpha, as `95%`, with as many digits as tell it from 100%."""
    digits = max(2, 1 - math.floor(math.log10(100 * alpha)))
    return f"{100 * (1 - alpha):.{digits}f}".rstrip("0").rstrip(".") + "%"


class PromotionDecision(NamedTuple):
    """What to do with a trained policy, and why, in words a person can read."""

    outcome: Outcome
    reason: str
    gains: tuple[Comparison, ...] = ()
    """On all prompts, over each of the other policies, as far as they were compared."""
    confirmed: bool = False
    """Whether the gains are by fresh responses."""


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
    gain of its own, because it may be too small for that. The intervals of sets are wider, so that all of
    them together look worse by chance in 2.5% of cases (`compare_policies`).

    Responses that the verifier failed on are missing, not wrong. Whatever their rewards would have been, a
    promotion has to hold: also with these counted wrong for the policy and right for the others.

    Args:
        comparisons: with the reference policy, and with the champion if there is one; each on all prompts,
            and on the sets that can show a loss.
        prompts: number of evaluation prompts.
        kl: KL divergence of the policy from the reference policy, in nats per response.
        min_prompts: with fewer prompts the policy is held.
        min_gain: the lower end of each interval on all prompts must be above it.
        max_kl: a policy with a larger KL is rejected.
    """
    early = decide_without_comparison(prompts=prompts, kl=kl, min_prompts=min_prompts, max_kl=max_kl)
    if early is not None:
        return early
    if not any(comparison.on is None for comparison in comparisons):
        return PromotionDecision("hold", "compared with nothing")
    gains = tuple(part for part in comparisons if part.on is None and not part.only_vetoes)
    return _decide_whatever_is_missing(comparisons, min_gain)._replace(gains=gains)


def _decide_whatever_is_missing(comparisons: list[Comparison], min_gain: float) -> PromotionDecision:
    """Decide by the intervals of the gains, and hold what missing rewards could turn round."""
    decision = _decide_by_gains(comparisons, min_gain)
    if decision.outcome != "promote" or all(comparison.worst is None for comparison in comparisons):
        return decision
    bounded = _decide_by_gains([comparison.worst or comparison for comparison in comparisons], min_gain)
    if bounded.outcome == "promote":
        return PromotionDecision(
            "promote", f"{decision.reason}; whatever the missing rewards: {bounded.reason}"
        )
    return PromotionDecision("hold", f"only without the missing rewards {decision.reason}; {bounded.reason}")


def confirm_decision(decision: PromotionDecision, afresh: PromotionDecision) -> PromotionDecision:
    """Combine a decision to promote with the one by fresh responses, which it needs as well.

    Args:
        decision: by the evaluation; its outcome is *promote*.
        afresh: by responses that nobody has chosen the policy by; its gains are the ones that count.
    """
    if afresh.outcome == "promote":
        reason = f"{decision.reason}; fresh responses confirm it: {afresh.reason}"
    else:
        reason = f"by fresh responses {afresh.reason}; by its evaluation {decision.reason}"
    return afresh._replace(reason=reason, confirmed=True)


def decide_without_comparison(
    *, prompts: int, kl: float, min_prompts: int, max_kl: float
) -> PromotionDecision | None:
    """Decide where no comparison could change it, else None; arguments as of `decide_promotion`."""
    if prompts < min_prompts:
        return PromotionDecision(
            "hold", f"{prompts} evaluation prompts are too few, {min_prompts} are needed"
        )
    if not kl <= max_kl:
        return PromotionDecision("reject", f"KL {kl:.3g} to the reference is above {max_kl:g}")
    return None


def _decide_by_gains(comparisons: list[Comparison], min_gain: float) -> PromotionDecision:
    """Decide by the intervals of the gains alone."""
    overall = [part for part in comparisons if part.on is None and not part.only_vetoes]
    for comparison in comparisons:
        if comparison.high < 0:
            where = "" if comparison.on is None else f" on {comparison.on}"
            gain = gains_in_words([comparison])
            return PromotionDecision("reject", f"worse than the {comparison.against}{where}: {gain}")
    for comparison in overall:
        if not comparison.low > min_gain:
            return PromotionDecision(
                "hold",
                f"not shown to be better than the {comparison.against} by more than {min_gain:g}: "
                f"{gains_in_words([comparison])}",
            )
    names = " and the ".join(comparison.against for comparison in overall)
    return PromotionDecision("promote", f"better than the {names}: {gains_in_words(overall)}")


def gains_in_words(comparisons: Sequence[Comparison]) -> str:
    """Spell out one gain, or several gains each with the policy it is over."""
    if len(comparisons) == 1:
        (only,) = comparisons
        gain = f"{only.score} {only.gain:+.3f}, {only.level} interval {only.low:+.3f} to {only.high:+.3f}"
        return gain + _counted_in_words(only)
    return f"{comparisons[0].score} " + ", ".join(
        f"{comparison.gain:+.3f} over the {comparison.against} "
        f"({comparison.level} {comparison.low:+.3f} to {comparison.high:+.3f})"
        f"{_counted_in_words(comparison)}"
        for comparison in comparisons
    )


def _counted_in_words(comparison: Comparison) -> str:
    """Say how responses without a reward are counted, if there are any."""
    if not comparison.counted_against:
        return ""
    return (
        f" with {comparison.counted_against} responses that the verifier failed on counted wrong for the "
        f"policy and right for the {comparison.against}"
    )
