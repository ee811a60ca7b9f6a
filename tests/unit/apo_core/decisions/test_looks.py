"""Looks at evaluation prompts: each comparison counts once, and all together spend no more than the total."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from apo_core.decisions.approval_rule import state_of
from apo_core.decisions.audit_chain import seal
from apo_core.decisions.looks import TOTAL, Look, alpha_of_look, note_look, number_of_look, prompts_seen

NOW = datetime(2026, 1, 1, tzinfo=UTC)
A, B = ([f"{name}{number}" for number in range(500)] for name in "ab")


def log_of(*looks):
    """A log of comparisons on prompts, in that order."""
    entries = []
    for comparison, prompts in looks:
        draft = note_look(state_of(entries), Look(comparison, prompts_seen(prompts)), "policy", by="Ada")
        if draft is not None:
            entries.append(seal(entries, model="m", time=NOW, nonce="", **vars(draft)))
    return entries


def test_a_comparison_counts_once_and_every_set_by_itself():
    entries = log_of(("p", A), ("q", A), ("r", B), ("p", A))
    assert [(entry.evidence["look"], entry.evidence["alpha"]) for entry in entries] == [
        (1, pytest.approx(0.05)),
        (2, pytest.approx(0.1 / 6)),
        (1, pytest.approx(0.05)),
    ]
    state = state_of(entries)
    assert [number_of_look(state, Look(name, prompts_seen(A))) for name in ("p", "q", "s")] == [1, 2, 3]
    assert number_of_look(state, Look("s", prompts_seen(B))) == 2
    assert number_of_look(state, Look("s", prompts_seen(["c"]))) == 1


@pytest.mark.parametrize(
    ("prompts", "number"),
    [
        (A[1:], 2),
        ([*A, "another"], 2),
        (A[:400], 2),  # four of five are the same
        (A[:100], 2),  # all of them were seen
        (A[:30], 2),
        ([*A, *B], 2),
        ([*A[:250], *B], 2),  # half of what was seen is asked again
        ([*A[:40], *B[:40]], 2),  # half of what is asked was seen
        ([*A[:100], *B], 1),
        ([*A[:40], *B[:160]], 1),
    ],
)
def test_a_prompt_more_or_less_does_not_begin_anew(prompts, number):
    assert number_of_look(state_of(log_of(("p", A))), Look("q", prompts_seen(prompts))) == number


def test_parts_of_a_pool_count_with_the_pool_and_other_parts_do_not():
    pool = [f"p{number}" for number in range(1000)]
    entries = log_of(
        ("1", pool[:450]), ("2", pool[450:900]), ("3", pool), ("4", pool[:200]), ("5", pool[700:])
    )
    assert [entry.evidence["look"] for entry in entries] == [1, 1, 3, 3, 3]


def test_sets_that_share_two_of_five_prompts_count_as_one():
    assert number_of_look(state_of(log_of(("p", "abcde"))), Look("q", prompts_seen("abxyz"))) == 2
    assert number_of_look(state_of(log_of(("p", "abcdef"))), Look("q", prompts_seen("abwxyz"))) == 1


def test_a_look_notes_256_prompts_of_a_set_at_most():
    seen = [prompts_seen(prompts) for prompts in (A[:3], A[:256], A)]
    assert [(len(own.sketch), own.number) for own in seen] == [(3, 3), (256, 256), (256, 500)]


def test_comparisons_on_no_prompts_at_all_are_on_the_same():
    assert number_of_look(state_of(log_of(("p", []))), Look("q", prompts_seen([]))) == 2


def test_an_entry_of_a_look_is_as_logs_hold_it():
    policy = "0123456789abcdef"
    draft = note_look(state_of([]), Look("p", prompts_seen(["a"])), policy, by="Ada")
    assert (draft.event, draft.version, draft.by) == ("compared", "", "Ada")
    assert draft.reason == "look 1 at these evaluation prompts: policy 0123456789ab"
    assert draft.evidence == {
        "policy_sha256": policy,
        "comparison": "p",
        "prompts": 1,
        "sketch": ["ca978112ca1bbdca"],  # the first 16 digits of the SHA-256 of a
        "look": 1,
        "alpha": pytest.approx(0.05),
    }


def test_a_log_that_an_earlier_version_began_is_counted_on():
    (entry,) = log_of(("p", A[:50]))
    evidence = {name: value for name, value in entry.evidence.items() if name != "sketch"}
    old = replace(entry, evidence=evidence | {"prompts": entry.evidence["sketch"]})
    assert number_of_look(state_of([old]), Look("q", prompts_seen(A[:50]))) == 2
    assert number_of_look(state_of([old]), Look("q", prompts_seen(B))) == 1


def test_a_look_is_no_decision_on_a_version():
    state = state_of(log_of(("p", A)))
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
