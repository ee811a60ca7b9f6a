"""A verifier that no prompt has is named, with what there is."""

import pytest
from builders import ROOT

from apo_core.config import When
from flows.workspaces import load_preset
from tasks.rewards.unused import unused_verifier

KINDS = [("gsm8k", "easy"), ("math", None), ("gsm8k", "hard")]


def verifiers(*whens):
    (first,) = load_preset(ROOT / "presets/ci.yaml").verifier
    return tuple(first.model_copy(update={"when": when}) for when in whens)


@pytest.mark.parametrize(
    ("when", "asked", "known"),
    [
        ({"set": ("tpyo",)}, "set: [tpyo]", "sets: gsm8k, math"),
        ({"group": ("middle",)}, "group: [middle]", "sets: gsm8k, math; groups: easy, hard"),
        (  # each occurs, but never together
            {"set": ("math", "aime"), "group": ("easy",)},
            "set: [math, aime], group: [easy]",
            "sets: gsm8k, math; groups: easy, hard",
        ),
    ],
)
def test_a_verifier_that_is_for_no_prompt_is_named(when, asked, known):
    problem = unused_verifier(verifiers(None, When(**when)), KINDS)
    assert problem == f"numeric with when {{{asked}}} is for no prompt; there are {known}"


def test_where_no_prompt_has_a_group_the_key_is_named():
    problem = unused_verifier(verifiers(When(group=("easy",))), [("math", None)])
    assert problem.endswith("there are sets: math; groups: none, see data.group_field")


def test_many_groups_are_not_all_listed():
    kinds = [("math", f"g{number:02}") for number in range(12)]
    assert unused_verifier(verifiers(When(group=("x",))), kinds).endswith("g08, g09 and 2 more")


def test_verifiers_that_some_prompt_has_are_fine():
    assert unused_verifier(verifiers(None, When(set=("math",)), When(group=("hard",))), KINDS) is None
