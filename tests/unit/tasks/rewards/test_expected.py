"""Rewards of completions against what is expected."""

from pathlib import Path

import pytest
from builders import ROOT

from apo_core.config import Overlong, When
from apo_core.data.prompts import Prompt, prompt_id
from flows.workspaces import load_preset
from tasks.rewards.completions import Completion, Row
from tasks.rewards.expected import score_completions

PROMPT = Prompt(prompt_id("4+3"), "4+3", "7", "{}", "mine.jsonl:1", "train", "mine", "sums")


def verifier(**changes):
    return load_preset(ROOT / "presets/ci.yaml").verifier[0].model_copy(update=changes)


def completions(*rows):
    """Rows of (text, expected reward, tokens)."""
    return [
        Completion(PROMPT, Row(Path("rows.jsonl"), number, "prompt", (PROMPT.prompt_id,), *row))
        for number, row in enumerate(rows, start=1)
    ]


def scored(tmp_path, verifiers, *rows, template=None):
    return score_completions(verifiers, tmp_path, completions(*rows), max_tokens=10, prompt_template=template)


def test_rewards_are_compared_and_unread_answers_shown(tmp_path):
    rewards = scored(
        tmp_path, (verifier(),), ("so 7", 1.0, None), ("so 8", 1.0, None), ("no idea", None, None)
    )
    assert (rewards.count.scored, rewards.count.unread, rewards.count.errors) == (3, 1, 0)
    assert rewards.count.mean == pytest.approx(1 / 3)
    assert (rewards.expected, rewards.unexpected, rewards.good) == (2, 1, False)
    assert [(doubt.kind, doubt.source, doubt.read) for doubt in rewards.doubts.rows] == [
        ("another reward than expected", "rows.jsonl:2", "8"),
        ("no answer read", "rows.jsonl:3", ""),
    ]


def test_a_few_rows_of_a_kind_are_kept_and_all_are_counted(tmp_path):
    doubts = scored(tmp_path, (verifier(),), *[("no idea", None, None)] * 14, ("so 8", 1.0, None)).doubts
    assert doubts.counts == {"no answer read": 14, "another reward than expected": 1}
    assert [doubt.kind for doubt in doubts.rows] == ["no answer read"] * 5 + ["another reward than expected"]


def test_rows_that_are_alike_keep_what_each_expects(tmp_path):
    rewards = scored(tmp_path, (verifier(),), ("so 7", 0.0, None), ("so 7", 1.0, None))
    assert (rewards.expected, rewards.unexpected) == (2, 1)
    assert rewards.doubts.rows[0].source == "rows.jsonl:1"
    assert rewards.doubts.rows[0].reason.startswith("1 and not 0: 7 equals 7")


def test_the_reward_is_that_of_all_verifiers_with_their_weights_and_the_length(tmp_path):
    shaped = Overlong(buffer_tokens=4, penalty=0.5)
    verifiers = (
        verifier(weight=3.0, overlong=shaped),
        verifier(name="exact", extract=("whole",), when=When(group=("sums",))),
        verifier(name="exact", extract=("whole",), when=When(set=("another",))),
    )
    rows = ("so 7", 3 / 4, 6), ("so 7", 3 / 4 * 0.75, 8), ("7", (3 * 0.5 + 1) / 4, 10)
    rewards = scored(tmp_path, verifiers, *rows)
    assert (rewards.expected, rewards.unexpected, rewards.good) == (3, 0, True)


def test_a_response_begins_inside_the_thinking_part_where_the_template_ends_with_its_tag(tmp_path):
    class Opening:
        def ends_with(self, text):
            return text == "<think>"

    row = ("is it 7", 0.0, None)
    assert scored(tmp_path, (verifier(),), row, template=Opening()).unexpected == 0
    assert scored(tmp_path, (verifier(),), row).unexpected == 1


@pytest.mark.slow
def test_a_verifier_that_fails_too_often_is_stopped(tmp_path):
    (tmp_path / "mine.py").write_text("def score(completion, answer, row):\n    return row['nothing']\n")
    own = verifier(name="mine:score", extract=("whole",), workers=1)
    rewards = scored(tmp_path, (own,), *[("so 7", 1.0, None)] * 30)
    assert (rewards.count.scored, rewards.count.errors, rewards.count.stopped) == (20, 20, True)
    assert not rewards.good and rewards.unexpected == 0
