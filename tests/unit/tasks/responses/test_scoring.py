"""Rows that the verifier failed on, from the shards to the value table."""

import math
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from apo_core.config.file import load_params
from apo_core.errors import VerifierFailed
from apo_core.tables import SAMPLES, VALUES, read_table, write_table
from apo_core.values.pooled import Prior
from apo_core.verifiers import RowError
from tasks.quality.checks import sample_checks, value_checks
from tasks.quality.expectations import DataQualityError, validate
from tasks.responses.jobs import make_here
from tasks.responses.scoring import error_budget, row_errors, verifiers_of
from tasks.responses.shards import run_shards
from tasks.stages.values import Priors, fit_priors, value_table

LATE = "error: took longer than 5 s"


@pytest.fixture
def params(root):
    return load_params(root / "presets/embedded.yaml")


def samples(rewards):
    """Rewards per prompt, in order; None is an error row."""
    rows = [
        {
            "prompt_id": prompt_id,
            "sample_index": index,
            "token_ids": [3, 1],
            "text": "x",
            "finish_reason": "stop",
            "extracted": "1",
            "reward": reward,
            "reason": LATE if reward is None else "1 is not 2",
            "parts": None,
        }
        for prompt_id, own in rewards.items()
        for index, reward in enumerate(own)
    ]
    return pd.DataFrame(rows).astype({"reward": "float64"})


def test_values_are_those_of_the_scored_samples(params):
    frame = samples({"a": [1.0, None, 0.0], "b": [None] * 3, "c": [0.0] * 3})
    published = params.values.model_copy(update={"estimate": "published"})
    table = value_table(frame, published, fit_priors(frame, 0.5))
    assert table["prompt_id"].tolist() == ["a", "b", "c"]
    assert table["n"].tolist() == [2, 0, 3]
    # 0.5 ln((e^2 + 1) / 2), with beta1 0.5: the third sample counts for nothing, not for a 0.
    assert table["v_star"][0] == pytest.approx(0.5 * math.log((math.exp(2) + 1) / 2))
    assert table["mean_reward"][0] == 0.5
    assert table[["v_star", "mean_reward", "max_reward"]].iloc[1].isna().all()
    assert table["dropped"].isna().tolist() == [True, False, False]
    assert table["dropped"].tolist()[1:] == ["error", "unsolved"]


@pytest.mark.parametrize("estimate", ["published", "pooled"])
def test_such_tables_are_written_read_and_checked(params, tmp_path, estimate):
    frame = samples({"a": [1.0, None, 0.0], "b": [None] * 3, "c": [0.0] * 3})
    write_table(tmp_path / "samples.parquet", frame, SAMPLES)
    scored = read_table(tmp_path / "samples.parquet", SAMPLES)
    priors = fit_priors(scored, params.values.beta1)
    table = value_table(scored, params.values.model_copy(update={"estimate": estimate}), priors)
    assert table["v_star"].isna().tolist() == [False, True, False]
    write_table(tmp_path / "values.parquet", table, VALUES)
    table = read_table(tmp_path / "values.parquet", VALUES)
    prior = priors.success if estimate == "pooled" else None
    for checked, checks, row in (
        (*sample_checks(scored, counts=[3], prompts=3), "row"),
        (*value_checks(table, scored, beta1=params.values.beta1, prior=prior, seed=0), "prompt_id"),
    ):
        report = validate(checked, checks, table=tmp_path, row=row, report=tmp_path / "report.json")
        assert all(check["passed"] for check in report["checks"])


@pytest.mark.parametrize(("column", "value"), [("reason", "no number found"), ("reward", 1.5)])
def test_a_reward_that_is_missing_without_an_error_is_refused(tmp_path, column, value):
    frame = samples({"a": [1.0, None]})
    frame.loc[1, column] = value
    checked, checks = sample_checks(frame, counts=[2], prompts=1)
    with pytest.raises(DataQualityError, match="a/1: reward"):
        validate(checked, checks, table=tmp_path, row="row", report=tmp_path / "report.json")


def test_error_rows_are_named_by_prompt_and_sample():
    assert row_errors(samples({"a": [1.0, None], "b": [None, 0.0]})) == [
        RowError("a/1", LATE),
        RowError("b/0", LATE),
    ]


def test_a_stage_stops_at_the_shard_that_overspends_and_does_not_keep_it(params, tmp_path):
    scored_shards = []

    class Job:
        @contextmanager
        def open(self, own_cores):
            yield lambda prompts: partial(self.score, prompts)

        def score(self, prompts):
            scored_shards.append(prompts)
            return samples({prompt: [1.0, None if prompt in "bde" else 0.0] for prompt in prompts})

    def run(share):
        verifier = params.verifier[0].model_copy(update={"max_error_share": share})
        return run_shards(
            tmp_path,
            "abcdefgh",
            partial(make_here, Job()),
            shard_size=2,
            schema=SAMPLES,
            name="sample",
            inspect=error_budget(
                (verifier, params.verifier[0].model_copy(update={"max_error_share": 0.9})), rows=16
            ),
        )

    # One of 16 rows may fail: the second shard has the second error.
    with pytest.raises(
        VerifierFailed, match=r"failed on 2 of 16 rows.*b/1: took.*; d/1: took longer than 5 s$"
    ):
        run(0.1)
    assert scored_shards == [["a", "b"], ["c", "d"]]
    # The errors of the shard that was kept count when it goes on.
    with pytest.raises(VerifierFailed, match="failed on 3 of 16"):
        run(0.15)
    assert scored_shards == [["a", "b"], ["c", "d"], ["c", "d"], ["e", "f"]]
    assert len(run(0.2)) == 16


def test_pooled_values_are_checked_by_another_road(params, tmp_path):
    scored = samples({"a": [1.0, 0.0], "b": [0.0] * 4, "c": [1.0] * 4})
    prior = Prior(1.0, 2.0)
    table = value_table(scored, params.values, Priors(success=prior, reward=prior, cautious=prior))
    assert table["n"].tolist() == [2, 4, 4]
    # The pooled values are shrunk towards each other: none is exactly 0 or 1.
    assert 0 < table["v_star"][1] < table["v_star"][0] < table["v_star"][2] < 1
    frame, checks = sample_checks(scored, counts=[2, 4], prompts=3)
    validate(frame, checks, table=Path("samples"), row="row", report=tmp_path / "samples.json")
    for spoilt, refused in ((0.0, False), (1e-3, True)):
        frame, checks = value_checks(
            table.assign(v_star=table["v_star"] + spoilt), scored, beta1=0.5, prior=prior, seed=0
        )
        if refused:
            with pytest.raises(DataQualityError, match=r"differs from V\* recomputed"):
                validate(frame, checks, table=Path("values"), row="prompt_id", report=tmp_path / "v.json")
        else:
            validate(frame, checks, table=Path("values"), row="prompt_id", report=tmp_path / "v.json")


def test_a_number_of_samples_that_no_prompt_may_have_is_refused(tmp_path):
    frame, checks = sample_checks(samples({"a": [1.0] * 3, "b": [0.0] * 4}), counts=[2, 4], prompts=2)
    with pytest.raises(DataQualityError, match=r"a/0.*does not count 2 or 4 samples"):
        validate(frame, checks, table=Path("samples"), row="row", report=tmp_path / "samples.json")


@pytest.mark.parametrize(("text", "reward"), [("{prompt}\nA:", 1.0), ("{prompt}\nA: <think>\n", 0.0)])
def test_responses_begin_inside_a_thinking_part_that_their_prompt_opens(params, tmp_path, text, reward):
    class PromptTemplate:
        def ends_with(self, tag):
            return text.rstrip().endswith(tag)

    (verifier,) = verifiers_of(params.verifier, tmp_path, PromptTemplate())
    assert verifier.score("5", "5", {}).reward == reward


def test_thinking_is_kept_where_the_configuration_says_so(params, tmp_path):
    kept = params.verifier[0].model_copy(update={"thinking": "keep"})
    for verifiers, reward in (((kept,), 1.0), (params.verifier, 0.0)):
        (verifier,) = verifiers_of(verifiers, tmp_path)
        assert verifier.score("<think>5", "5", {}).reward == reward
