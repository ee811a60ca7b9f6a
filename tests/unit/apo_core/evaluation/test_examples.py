import pandas as pd
import pytest

from apo_core.evaluation.examples import choose_examples

# Greedy rewards of reference and policy on each prompt.
REWARDS = {
    "f": (0.0, 1.0),
    "a": (0.0, 1.0),
    "b": (1.0, 0.0),
    "c": (0.0, 0.5),  # better, and not right
    "d": (1.0, 1.0),
    "e": (0.0, 1.0),
    "failed": (None, 1.0),
}


@pytest.fixture
def rows():
    rows = []
    for prompt, rewards in REWARDS.items():
        for model, reward in zip(("reference", "policy"), rewards, strict=True):
            rows.append((prompt, model, -1, f"{model} on {prompt}", reward))
            rows.append((prompt, model, 0, "sampled", 1.0))
    return pd.DataFrame(rows, columns=["prompt_id", "policy", "sample_index", "text", "reward"])


@pytest.fixture
def prompts():
    names = list(REWARDS)
    return pd.DataFrame({"prompt_id": names, "set": "s", "prompt": [f"{n}?" for n in names], "answer": names})


def test_each_kind_has_the_prompts_it_says(rows, prompts):
    by_name = {kind.name.split(":")[0]: kind for kind in choose_examples(rows, prompts, show=9)}
    assert {name: list(kind.shown["answer"]) for name, kind in by_name.items()} == {
        "Gained": ["a", "e", "f"],
        "Lost": ["b"],
        "Still wrong": ["c"],
        "Still right": ["d"],
    }
    assert by_name["Lost"].shown.to_dict("records") == [
        {
            "set": "s",
            "prompt": "b?",
            "answer": "b",
            "reference": "reference on b",
            "reference_reward": 1.0,
            "policy": "policy on b",
            "policy_reward": 0.0,
        }
    ]


def test_no_more_are_shown_than_asked_for_and_all_are_counted(rows, prompts):
    gained = choose_examples(rows, prompts, show=2)[0]
    assert (gained.prompts, list(gained.shown["answer"])) == (3, ["a", "e"])


def test_the_choice_does_not_depend_on_the_order_of_the_rows(rows, prompts):
    in_order = choose_examples(rows, prompts, show=2)
    reversed_order = choose_examples(rows[::-1], prompts[::-1], show=2)
    assert [kind.shown.to_dict("records") for kind in in_order] == [
        kind.shown.to_dict("records") for kind in reversed_order
    ]


def test_there_may_be_none(rows, prompts):
    kinds = choose_examples(rows[rows["prompt_id"] == "d"], prompts, show=2)
    assert [kind.prompts for kind in kinds] == [0, 0, 0, 1]
