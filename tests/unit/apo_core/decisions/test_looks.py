"""Looks at an evaluation set: each policy counts once, and all together spend no more than the total."""

from datetime import UTC, datetime

import pytest

from apo_core.decisions.approval_rule import state_of
from apo_core.decisions.audit_chain import seal
from apo_core.decisions.looks import TOTAL, alpha_of_look, note_look, number_of_look

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def log_of(*looks):
    """A log in which policies were compared on sets, in that order."""
    entries = []
    for evaluation_set, policy in looks:
        draft = note_look(state_of(entries), evaluation_set, policy, by="Ada")
        if draft is not None:
            entries.append(seal(entries, model="m", time=NOW, nonce="", **vars(draft)))
    return entries


def test_a_policy_counts_once_and_every_set_by_itself():
    entries = log_of(("a", "p"), ("a", "q"), ("b", "q"), ("a", "p"))
    assert len(entries) == 3
    state = state_of(entries)
    assert [number_of_look(state, "a", policy) for policy in ("p", "q", "r")] == [1, 2, 3]
    assert [number_of_look(state, "b", policy) for policy in ("p", "q")] == [2, 1]
    assert number_of_look(state, "c", "p") == 1


def test_a_look_is_no_decision_on_a_version():
    state = state_of(log_of(("a", "p")))
    assert (state.candidate, state.champion, state.last) == (None, None, {})


def test_the_first_look_is_the_usual_interval_and_all_together_spend_the_total():
    assert alpha_of_look(1) == pytest.approx(0.05)
    # One side of each interval promotes an equal policy.
    spent = sum(alpha_of_look(look) / 2 for look in range(1, 100_000))
    assert spent == pytest.approx(TOTAL, rel=1e-4)
    assert spent < TOTAL


def test_looks_are_counted_from_1():
    with pytest.raises(ValueError, match="counted from 1"):
        alpha_of_look(0)
