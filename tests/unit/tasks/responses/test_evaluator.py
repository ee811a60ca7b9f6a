"""Rows and log-ratios of an evaluation do not depend on how shards are cut."""

import pytest
import torch

from apo_core.config.file import load_params
from apo_core.embedded.tiny_decoder import character_tokenizer, tiny_decoder
from apo_core.model.directory import ModelRef
from apo_core.model.loading import save_policy
from apo_core.model.log_probs import ResponseLogProbs
from apo_core.model.template import Template
from apo_core.sampling.base import Response
from apo_core.sampling.scored import Question, Scored
from tasks.prompts.prompt_template import load_prompt_template
from tasks.responses.evaluator import Evaluator, log_ratios
from tasks.responses.scoring import scorer_of


def test_log_ratios_are_of_their_rows_however_those_are_cut():
    tokenizer = character_tokenizer()
    heads = [
        ResponseLogProbs(
            tiny_decoder(tokenizer, hidden_size=16, layers=1, heads=2, seed=seed).eval(), temperature=1.0
        )
        for seed in (0, 1)
    ]
    prompt_template = Template(tokenizer, style="raw", text="{prompt}", system=None)
    prompts = ["1+2=", "1+2+3+4=", "5+5=", "1+2+3="]
    scored = [
        Scored(
            Question(prompt, prompt, "", "{}"),
            0,
            Response(prompt_template.encode("7" * length), "stop"),
            "",
            1.0,
            None,
            "",
        )
        for prompt, length in zip(prompts, (9, 1, 5, 3), strict=True)
    ]
    one_by_one = [log_ratios(*heads, prompt_template, 1000, [row])[0] for row in scored]
    assert len(set(one_by_one)) == 4
    for budget in (1, 14, 1000):
        assert log_ratios(*heads, prompt_template, budget, scored) == pytest.approx(one_by_one, abs=1e-5)
    assert torch.is_grad_enabled()


@pytest.fixture
def policy_directory(tmp_path):
    """A model directory whose seed is in its name."""

    def make(seed):
        tokenizer = character_tokenizer()
        model = tiny_decoder(tokenizer, hidden_size=16, layers=1, heads=2, seed=seed)
        save_policy(model, tokenizer, tmp_path / f"policy-{seed}")
        return tmp_path / f"policy-{seed}"

    return make


def test_rows_are_by_prompt_however_shards_are_cut(root, tmp_path, policy_directory):
    params = load_params(root / "presets/embedded.yaml")
    policy, reference = policy_directory(0), policy_directory(1)
    prompt_template = load_prompt_template(ModelRef(path=policy), params.template)
    questions = [Question(prompt, prompt, "7", "{}") for prompt in ("3+4=", "1+1+5=", "7=")]

    def evaluate(batch_size, greedy, reference):
        work = tmp_path / f"{batch_size}-{greedy}"
        with scorer_of(params.verifier, tmp_path, rows=100) as scorer:
            evaluator = Evaluator(
                questions=questions,
                work=work,
                inspect=lambda rows: None,
                key="evaluate/0",
                trust_remote_code=False,
                generation=params.generation.model_copy(update={"max_new_tokens": 4}),
                sampler=params.sampler,
                evaluation=params.evaluation.model_copy(update={"samples": 2, "batch_size": batch_size}),
            )
            rows = evaluator.evaluate(
                "policy", policy, prompt_template, scorer=scorer, greedy=greedy, reference=reference
            )
        assert len(list(work.glob("evaluate-policy-*.parquet"))) == (3 if batch_size == 2 else 1)
        return rows

    rows = evaluate(64, True, reference)
    assert rows["prompt_id"].tolist() == [question.prompt_id for question in questions for _ in range(3)]
    assert rows["sample_index"].tolist() == [-1, 0, 1] * 3
    assert rows["log_ratio"].isna().tolist() == [True, False, False] * 3
    one_by_one = evaluate(2, True, reference)
    assert one_by_one["text"].tolist() == rows["text"].tolist()
    assert one_by_one["log_ratio"].tolist() == pytest.approx(
        rows["log_ratio"].tolist(), abs=1e-4, nan_ok=True
    )
    sampled = evaluate(64, False, None)
    assert sampled["text"].tolist() == rows.loc[rows["sample_index"] >= 0, "text"].tolist()
    assert sampled["log_ratio"].isna().all()
