"""Completions of a file find their prompts."""

import json

import pytest

from apo_core.data.messages import prompt_of_turns
from apo_core.data.prompts import Prompt, prompt_id
from apo_core.errors import InputError
from apo_core.tables import SAMPLES, write_table
from tasks.rewards.completions import matched, read_rows

TURNS = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "4+3"}]


def prompts(*texts):
    rows = [Prompt(prompt_id(text), text, "7", "{}", "mine.jsonl:1", "train", "mine") for text in texts]
    return {row.prompt_id: row for row in rows}


def written(tmp_path, *rows):
    file = tmp_path / "completions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.mark.parametrize(
    ("field", "row", "prompt"),
    [
        ("q", {"q": "question 1"}, "question 1"),
        ("q", {"prompt_id": prompt_id("question 1")}, "question 1"),
        ("q", {"prompt_id": "of another program", "q": "question 1"}, "question 1"),
        ("q", {"prompt_id": None, "q": "question 1"}, "question 1"),
        ("extra.q", {"extra": {"q": "question 1"}}, "question 1"),
        ("extra.q", {"extra.q": "question 1"}, "question 1"),
        ("q", {"q": TURNS}, prompt_of_turns(TURNS)),
        ("extra.q", {"extra": {"q": TURNS[1:]}}, "4+3"),
    ],
)
def test_a_prompt_is_read_as_those_of_data_are(tmp_path, field, row, prompt):
    file = written(tmp_path, row | {"completion": "so 7"})
    (completion,) = matched(read_rows(file, field), prompts("question 1", "4+3", prompt_of_turns(TURNS)))
    assert completion.prompt.prompt == prompt
    assert completion.source == "completions.jsonl:1"


def test_a_samples_table_has_tokens_and_rewards(tmp_path):
    import pandas as pd

    known = prompts("question 1")
    row = {"prompt_id": next(iter(known)), "sample_index": 0, "token_ids": [4, 5, 6], "text": "so 7"}
    row |= {"finish_reason": "stop", "extracted": "7", "reward": 0.5, "reason": "", "parts": None}
    write_table(tmp_path / "samples.parquet", pd.DataFrame([row]), SAMPLES)
    (completion,) = matched(read_rows(tmp_path / "samples.parquet", "prompt"), known)
    assert (completion.row.reward, completion.row.tokens) == (0.5, 3)
    attempt = completion.attempt(48)
    assert (attempt.completion, attempt.set_name, attempt.tokens, attempt.max_tokens) == (
        "so 7",
        "mine",
        3,
        48,
    )


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"completion": "7"}, "prompt: is missing, and so is prompt_id"),
        ({"prompt": "another", "completion": "7"}, "prompt: is none of the configured prompts"),
        ({"prompt_id": "another", "completion": "7"}, "prompt_id: is none of the configured prompts"),
        ({"prompt": "question 1"}, "has none of completion, response, text"),
        ({"prompt": "question 1", "completion": 7}, "completion: must be text, found 7"),
        ({"prompt": "question 1", "completion": "7", "reward": 2}, "reward: must be a number from 0 to 1"),
    ],
)
def test_a_row_that_cannot_be_scored_is_named(tmp_path, row, problem):
    file = written(tmp_path, row)
    with pytest.raises(InputError) as refused:
        matched(read_rows(file, "prompt"), prompts("question 1"))
    assert f"{file}:1: " in str(refused.value) and problem in str(refused.value)
