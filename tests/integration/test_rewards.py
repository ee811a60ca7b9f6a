"""Rewards of several verifiers, in real runs of the pipeline's stages."""

import json
import shutil

import pandas as pd
import pytest
from builders import execute

from apo_core.config.file import set_params
from apo_core.tables import EVALUATIONS, PROMPTS, SAMPLES, VALUES, read_table
from tasks.workspace import Workspace

SMALL = ("train.steps=4", "train.batch_size=16", "sampling.n=4", "evaluation.samples=2")


@pytest.fixture
def paths(workspace):
    return Workspace(workspace)


def parts_of(samples):
    return pd.DataFrame(map(json.loads, samples["parts"]), index=samples.index)


@pytest.mark.production
def test_a_graded_reward_of_two_verifiers_trains_and_is_called_a_reward(paths):
    """Three quarters for the number, one for a short response, which a user's verifier grades."""
    (paths.raw_verifiers / "mine.py").write_text(
        "def short(completion, answer, row):\n"
        "    return max(0.0, 1 - len(completion) / 20), f'{len(completion)} characters', None\n"
    )
    verifiers = [
        {"weight": 3.0, "overlong": {"buffer_tokens": 8, "penalty": 0.5}},
        {"name": "mine:short", "extract": ["whole"], "weight": 1.0, "overlong": None},
    ]
    set_params(paths.params, [*SMALL, f"verifier={json.dumps(verifiers)}"])
    output = execute("dvc repro", paths.root).stdout
    assert "responses, mean reward" in output

    samples = read_table(paths.samples, SAMPLES)
    parts = parts_of(samples)
    assert set(parts) == {"numeric", "mine:short", "overlong"}
    shaped = (parts["numeric"] + parts["overlong"]).clip(lower=0)
    expected = (3 * shaped + parts["mine:short"]) / 4
    assert samples["reward"].to_numpy() == pytest.approx(expected.to_numpy())
    assert samples["reward"].nunique() > 5
    assert "0.75 x" not in samples["reason"][0] and "3 x " in samples["reason"][0]

    command = "apo verify --limit 20 --completions data/samples.parquet"
    tried = execute(command, paths.root, check=False).stdout
    assert f" 0 of {len(samples)}" in tried  # rewards that are not as in the table
    assert "data/reference" not in tried

    # An evaluation counts answers: without what long responses lose.
    evaluations = read_table(paths.evaluations, EVALUATIONS)
    assert set(parts_of(evaluations)) == {"numeric", "mine:short"}

    steps = [json.loads(line) for line in (paths.root / "data/metrics.jsonl").read_text().splitlines()]
    assert {"reward_of_numeric", "reward_of_mine:short", "reward_of_overlong"} <= set(steps[-1])
    values = read_table(paths.values, VALUES)
    kept = values[values["dropped"].isna()]
    assert (kept["v_star"] >= kept["expected_reward"] - 1e-9).all()


@pytest.mark.production
def test_every_set_has_its_own_verifier(paths):
    """Half of the prompts are in a file whose verifier reads the text as it is; what fits none is refused."""
    prompts = read_table(paths.prompts, PROMPTS)
    shutil.copytree(paths.reference, paths.raw_model, dirs_exist_ok=True)
    for split in ("train", "eval"):
        rows = prompts[prompts["split"] == split][["prompt", "answer"]].to_dict("records")
        for name, part in (("plain", rows[::2]), ("exact", rows[1::2])):
            file = paths.raw_prompts / f"{split}/{name}.jsonl"
            file.parent.mkdir(exist_ok=True)
            file.write_text("".join(json.dumps(row) + "\n" for row in part))
    entries = {split: [f"{split}/plain.jsonl", f"{split}/exact.jsonl"] for split in ("train", "eval")}
    verifiers = [
        {"when": {"set": ["plain"]}},
        {"name": "exact", "extract": ["whole"], "when": {"set": ["exact"]}},
    ]
    set_params(
        paths.params,
        [
            *SMALL,
            "reference.source=directory",
            "data.source=files",
            f"data.train_files={json.dumps(entries['train'])}",
            f"data.eval_files={json.dumps(entries['eval'])}",
            "data.train_prompts=null",
            "data.eval_prompts=null",
            f"verifier={json.dumps(verifiers)}",
        ],
    )
    execute("dvc repro", paths.root)
    samples = read_table(paths.samples, SAMPLES).merge(read_table(paths.prompts, PROMPTS), on="prompt_id")
    by_set = samples.groupby("set")["parts"].agg(lambda texts: set().union(*map(json.loads, texts)))
    assert by_set.to_dict() == {"plain": {"numeric"}, "exact": {"exact"}}
    evaluation = json.loads((paths.root / "reports/eval.json").read_text())
    assert set(evaluation["sets"]) == {"plain", "exact"}

    set_params(paths.params, [f"verifier={json.dumps(verifiers[:1])}"])
    refused = execute("dvc repro --single-item validate", paths.root, check=False)
    assert refused.returncode != 0
    assert "no verifier is for set exact: see verifier.when" in refused.stdout

    set_params(paths.params, [f"verifier={json.dumps([*verifiers, {'when': {'set': ['plian']}}])}"])
    refused = execute("dvc repro --single-item validate", paths.root, check=False)
    assert refused.returncode != 0
    assert "with when {set: [plian]} is for no prompt; there are sets: exact, plain" in refused.stdout
