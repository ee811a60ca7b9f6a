"""Comparisons that a promotion rests on: a policy with others on the same prompts, all of them and by set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from apo_core.decisions.promotion_rule import Comparison
from apo_core.errors import ApoError
from apo_core.evaluation.comparison import mean_rewards
from apo_core.evaluation.intervals import ALPHA, paired, paired_interval
from apo_core.evaluation.sign_flips import fewest_prompts


def compare_policies(
    policy: pd.DataFrame,
    others: Mapping[str, pd.DataFrame],
    sets: pd.Series[str],
    *,
    seed: int,
    alpha: float = ALPHA,
    veto_alpha: float = ALPHA,
    score: str = "pass@1",
) -> list[Comparison]:
    """Compare a policy with each of several others, on all prompts and on each set that can show a loss.

    Every interval on all prompts has the level 1 - alpha, for each of the others has to be beaten. A loss on
    any set vetoes, so the sets share `veto_alpha`: with m sets and c others each interval has the level
    1 - veto_alpha / (m c) (Bonferroni), and they all look worse by chance in veto_alpha / 2 of cases at most.
    A set of too few prompts for that level could show nothing, and takes no share (`vetoing_sets`).

    Args:
        policy: prompt_id and reward of its sampled rows, with a missing reward where the verifier failed.
        others: the same of the other policies, by what they are called.
        sets: the set of each prompt, by prompt_id.
        seed: of the resampling.
        alpha: chance that a true gain on all prompts lies outside of its interval.
        veto_alpha: the same of a loss, on all prompts, and of the gains on all sets together.
        score: what the mean reward is called.

    Raises:
        ApoError: there is no prompt on which both have a reward.
    """
    set_of = sets[sets.index.isin(policy["prompt_id"])]
    vetoing = vetoing_sets(set_of.value_counts(), comparisons=len(others), alpha=veto_alpha)
    of_a_set = veto_alpha / max(1, len(vetoing) * len(others))
    comparisons = []
    for against, other in others.items():
        whole = _compare(policy, other, against, on=None, seed=seed, alpha=alpha, score=score)
        if np.isnan(whole.gain):
            raise ApoError(f"there is no prompt on which the candidate and the {against} both have a reward")
        comparisons.append(whole)
        if alpha < veto_alpha:  # a loss is no harder to show at a late look
            loss = _compare(policy, other, against, on=None, seed=seed, alpha=veto_alpha, score=score)
            worst = loss.worst and replace(loss.worst, only_vetoes=True)
            comparisons.append(replace(loss, only_vetoes=True, worst=worst))
        for name in vetoing:
            part = set_of.index[set_of == name]
            ours, theirs = (rows[rows["prompt_id"].isin(part)] for rows in (policy, other))
            comparisons.append(
                _compare(ours, theirs, against, on=name, seed=seed, alpha=of_a_set, score=score)
            )
    return comparisons


def eval_sets(prompts: pd.DataFrame) -> pd.Series[str]:
    """Take the sets of the evaluation prompts, by prompt_id, from table `tables.PROMPTS`."""
    return prompts[prompts["split"] == "eval"].set_index("prompt_id")["set"]


def vetoing_sets(prompts: pd.Series[int], *, comparisons: int, alpha: float) -> list[str]:
    """Choose the sets that have enough prompts to show a loss, at the level that is left for each of them.

    n prompts can show it only if 2^-n, the chance that all of them turn out worse, is small enough: six
    prompts for one set and one comparison at 95%. The more sets, the more prompts; a set that has too few
    makes it no harder for the others. Empty if there is but one set: that is all prompts.

    Source: R. E. Tarone, Biometrics 46 (1990), here by numbers of prompts alone.

    Args:
        prompts: number of prompts of each set, by name.
        comparisons: number of policies that it is compared with.
        alpha: chance that a true gain lies outside of its interval.

    Returns:
        Names, sorted.
    """
    for count in range(1, len(prompts) + 1) if len(prompts) > 1 else ():
        enough = fewest_prompts(alpha / 2 / (count * comparisons))
        large = prompts.index[prompts >= enough]
        if len(large) <= count:
            return sorted(large)
    return []


def _compare(
    policy: pd.DataFrame,
    other: pd.DataFrame,
    against: str,
    *,
    on: str | None,
    seed: int,
    alpha: float,
    score: str,
) -> Comparison:
    """Compare on the prompts of some rows; the gain is NaN if both have a reward on none."""
    theirs, ours = paired(mean_rewards(other), mean_rewards(policy))
    whole = _comparison(theirs, ours, against, on=on, seed=seed, alpha=alpha, score=score)
    common = set(policy["prompt_id"]) & set(other["prompt_id"])
    failed = sum(
        int(rows.loc[rows["prompt_id"].isin(common), "reward"].isna().sum()) for rows in (policy, other)
    )
    if not failed:
        return whole
    theirs, ours = paired(mean_rewards(other, failed=1.0), mean_rewards(policy, failed=0.0))
    worst = _comparison(theirs, ours, against, on=on, seed=seed, alpha=alpha, score=score)
    return replace(whole, worst=replace(worst, counted_against=failed))


def _comparison(
    theirs: pd.Series[float],
    ours: pd.Series[float],
    against: str,
    *,
    on: str | None,
    seed: int,
    alpha: float,
    score: str,
) -> Comparison:
    low, high = (-1.0, 1.0) if ours.empty else paired_interval(theirs, ours, seed=seed, alpha=alpha)
    return Comparison(
        against=against,
        gain=float((ours - theirs).mean()),
        low=low,
        high=high,
        alpha=alpha,
        on=on,
        score=score,
    )
