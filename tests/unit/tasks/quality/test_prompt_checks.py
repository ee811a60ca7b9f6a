"""The table of prompts under the checks of stage `validate`."""

import pandas as pd
import pytest

from tasks.quality.checks import prompt_checks
from tasks.quality.expectations import DataQualityError, validate

PROBLEM = '"(2, 5)" holds 2 numbers (2, 5); try verifier.name: math, which compares expressions'


@pytest.mark.slow
def test_a_refused_gold_is_named_with_its_reading(tmp_path):
    prompts = pd.DataFrame(
        {
            "prompt_id": ["a", "b", "c"],
            "prompt": ["x", "y", "z"],
            "answer": ["1", "(2, 5)", "3"],
            "source": ["train.jsonl:1", "train.jsonl:2", "eval.jsonl:1"],
            "split": ["train", "train", "eval"],
        }
    )
    frame, checks = prompt_checks(
        prompts,
        tokens=[1, 1, 1],
        prompt_problems=[None] * 3,
        answer_problems=[None, PROBLEM, None],
        max_tokens=8,
    )
    report = tmp_path / "report.json"
    with pytest.raises(DataQualityError) as refusal:
        validate(frame, checks, table=tmp_path / "prompts.parquet", row="source", report=report)
    problem = f"train.jsonl:2: answer: cannot be read by the verifier: {PROBLEM} (rows in {report})"
    assert str(refusal.value) == f"{tmp_path / 'prompts.parquet'}: {problem}"
