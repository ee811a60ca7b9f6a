"""Looks at evaluation prompts: how many there were, and how certain the next one has to be.

Every comparison on the same prompts is one more chance that an equal policy seems better. Look k may be wrong
with a chance of `TOTAL / (k (k + 1))`. These chances add up to `TOTAL (1 - 1 / (k + 1))`: whatever the looks
have in common, and however many there will be, an equal policy is ever promoted on these prompts with a
chance of at most `TOTAL`, as far as the intervals keep their level. The first look takes half of it, which is
the usual 95% interval.

Source: Bonferroni's inequality with unequal shares, as in alpha spending (Lan and DeMets, Biometrika 70,
1983); shares of 1 / (k (k + 1)) need no number of looks beforehand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple

from apo_core.decisions.approval_rule import Draft, State

TOTAL = 0.05
_SKETCH = 256  # prompts by which sets are recognised
_SAME = 0.4  # share of the smaller set, as estimated from the sketches, from which on two count as one


class PromptsSeen(NamedTuple):
    """What a set of prompts is recognised by."""

    number: int
    """Of its prompts."""
    sketch: tuple[str, ...]
    """Hashes of some of them."""


class Look(NamedTuple):
    """One comparison, and the prompts that it is made on."""

    comparison: str
    """What is compared: a hash of the policy, of the rewards of its responses, and of the other policies."""
    prompts: PromptsSeen
    """From `prompts_seen`."""


def prompts_seen(prompt_ids: Iterable[str]) -> PromptsSeen:
    """Choose what a set is recognised by, also where prompts were added to it or taken away.

    Source: A. Broder, "On the resemblance and containment of documents" (1997): the smallest hashes.
    """
    hashes = sorted({hashlib.sha256(prompt_id.encode()).hexdigest()[:16] for prompt_id in set(prompt_ids)})
    return PromptsSeen(len(hashes), tuple(hashes[:_SKETCH]))


def alpha_of_look(number: int) -> float:
    """Compute the chance with which the paired interval of a look may miss the true gain, on either side.

    Args:
        number: of the look at these prompts, from 1.

    Raises:
        ValueError: the number is below 1.
    """
    if number < 1:
        raise ValueError(f"looks are counted from 1, not {number}")
    return 2 * TOTAL / (number * (number + 1))


def number_of_look(state: State, look: Look) -> int:
    """Count the comparisons on these prompts up to this one; a repeated comparison keeps its number.

    Sets count as one where about half of the smaller one's prompts, or more, are in the other.

    Args:
        state: what the log of decisions says.
        look: the comparison.
    """
    same_prompts = [
        entry.evidence["comparison"]
        for entry in state.compared
        if _share_in_common(_recorded(entry.evidence), look.prompts) >= _SAME
    ]
    compared = list(dict.fromkeys(same_prompts))
    return compared.index(look.comparison) + 1 if look.comparison in compared else len(compared) + 1


def note_look(state: State, look: Look, policy: str, *, by: str) -> Draft | None:
    """Draft the entry that counts a look; None where the log has this comparison.

    Args:
        state: what the log of decisions says.
        look: the comparison.
        policy: hash of the policy, for people.
        by: who started the run that compares.
    """
    if any(entry.evidence["comparison"] == look.comparison for entry in state.compared):
        return None
    number = number_of_look(state, look)
    return Draft(
        event="compared",
        version="",
        by=by,
        reason=f"look {number} at these evaluation prompts: policy {policy[:12]}",
        evidence={
            "policy_sha256": policy,
            "comparison": look.comparison,
            "prompts": look.prompts.number,
            "sketch": list(look.prompts.sketch),
            "look": number,
            "alpha": alpha_of_look(number),
        },
    )


def _recorded(evidence: dict[str, Any]) -> PromptsSeen:
    if "sketch" not in evidence:  # of a log that an earlier version began: nobody can change it
        return PromptsSeen(len(evidence["prompts"]), tuple(evidence["prompts"]))
    return PromptsSeen(int(evidence["prompts"]), tuple(evidence["sketch"]))


def _share_in_common(first: PromptsSeen, second: PromptsSeen) -> float:
    """Estimate which share of the smaller set's prompts is in the other one, from their sketches.

    The share of the smallest hashes of both that both have estimates the resemblance J, prompts in both by
    prompts in either. With a and b prompts there are J (a + b) / (1 + J) in both.
    """
    smallest = sorted({*first.sketch, *second.sketch})[:_SKETCH]
    if not smallest:
        return 1.0
    resemblance = len({*first.sketch} & {*second.sketch} & {*smallest}) / len(smallest)
    in_both = resemblance * (first.number + second.number) / (1 + resemblance)
    return in_both / min(first.number, second.number)
