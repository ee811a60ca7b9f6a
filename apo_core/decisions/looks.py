"""Looks at an evaluation set: how many there were, and how certain the next one has to be.

Every policy that is compared on a set is one more chance that an equal one seems better. Look k may be wrong
with a chance of `TOTAL / (k (k + 1))`. These chances add up to `TOTAL (1 - 1 / (k + 1))`: whatever the looks
have in common, and however many there will be, an equal policy is ever promoted on a set with a chance of at
most `TOTAL`. The first look takes half of it, which is the usual 95% interval.

Source: Bonferroni's inequality with unequal shares, as in alpha spending (Lan and DeMets, Biometrika 70,
1983); shares of 1 / (k (k + 1)) need no number of looks beforehand.
"""

from __future__ import annotations

from apo_core.decisions.approval_rule import Draft, State

TOTAL = 0.05


def alpha_of_look(look: int) -> float:
    """Compute the chance with which the paired interval of a look may miss the true gain, on either side.

    Args:
        look: its number on this evaluation set, from 1.

    Raises:
        ValueError: the number is below 1.
    """
    if look < 1:
        raise ValueError(f"looks are counted from 1, not {look}")
    return 2 * TOTAL / (look * (look + 1))


def number_of_look(state: State, evaluation_set: str, policy: str) -> int:
    """Count the policies that were compared on a set up to this one, which is counted once.

    Args:
        state: what the log of decisions says.
        evaluation_set: hash of the set's prompts and of how their responses are scored.
        policy: hash of the policy.
    """
    policies = state.compared.get(evaluation_set, ())
    return policies.index(policy) + 1 if policy in policies else len(policies) + 1


def note_look(state: State, evaluation_set: str, policy: str, *, by: str) -> Draft | None:
    """Draft the entry that counts a look; None where this policy was compared on this set before."""
    if policy in state.compared.get(evaluation_set, ()):
        return None
    look = number_of_look(state, evaluation_set, policy)
    return Draft(
        event="compared",
        version="",
        by=by,
        reason=f"look {look} at evaluation set {evaluation_set[:12]} is by policy {policy[:12]}",
        evidence={"evaluation_set": evaluation_set, "policy_sha256": policy},
    )
