"""The quickstart's commands for a real model on real text, on a slice that takes minutes."""

import re

import pytest
from builders import ROOT, execute
from pages import REAL_MODEL

pytestmark = pytest.mark.needs_no_run

GSM8K = ROOT.parent / "shared/data/gsm8k"
# Nothing is learnt from so little; that it learns is shown elsewhere.
SMALL = {"train_prompts=32": "train_prompts=4", "eval_prompts=32": "eval_prompts=2", "steps=3": "steps=1"}
# The files that a run in the checkout's own workspace would have changed.
STATUS = "git status --porcelain --ignored params.yaml dvc.yaml dvc.lock data reports .apo"
SMALLER = ("generation.max_new_tokens=8", "sampling.n=2", "train.batch_size=2", "evaluation.samples=1")


@pytest.mark.production
@pytest.mark.skipif(not GSM8K.is_dir(), reason=f"GSM8K's own files are not at {GSM8K}")
def test_a_real_model_runs_on_real_text(tmp_path):
    before = execute(STATUS, ROOT).stdout
    for name in ("train.jsonl", "test.jsonl"):
        (tmp_path / name).symlink_to(GSM8K / name)
    said = ""
    for command in REAL_MODEL:
        for large, small in SMALL.items():
            command = command.replace(large, small)
        if command.startswith("apo run"):
            command += "".join(f" --set {setting}" for setting in SMALLER)
        said += execute(command, tmp_path).stdout
    assert "4 of 4 prompts kept, N = 2" in said
    assert "1 steps of 2 prompts" in said
    assert "8 responses, mean reward" in said  # the short form of stage `sample`
    assert re.search("right against themselves .* 100.0%", said)
    assert execute(STATUS, ROOT).stdout == before
