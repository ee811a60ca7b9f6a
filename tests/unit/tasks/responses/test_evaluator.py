"""Rows and log-ratios of an evaluation do not depend on how shards are cut."""

import pickle
from contextlib import contextmanager

import pytest
import torch

from apo_core.config.file import load_params
from apo_core.embedded.tiny_decoder import character_tokenizer, tiny_decoder
from apo_core.model.loading import load_policy, save_policy
from apo_core.model.log_probs import ResponseLogProbs
from apo_core.model.template import Template
from apo_core.sampling.scored import Question
from tasks.responses import log_ratios as log_ratios_module
from tasks.responses import sample_jobs
from tasks.responses.evaluator import Evaluator
from tasks.responses.jobs import make_here
from tasks.responses.log_ratios import log_ratios
from tasks.responses.workers import Workers

ONE = Workers(executor="local", number=1, gpus=1)


def test_log_ratios_are_of_their_rows_however_those_are_cut():
    tokenizer = character_tokenizer()
    heads = [
        ResponseLogProbs(
            tiny_decoder(tokenizer, hidden_size=16, layers=1, heads=2, seed=seed).eval(), temperature=1.0
        )
        for seed in (0, 1)
    ]
    prompt_template = Template(tokenizer, style="raw", text="{prompt}", system=None)
    prompts = [prompt_template.encode(prompt) for prompt in ("1+2=", "1+2+3+4=", "5+5=", "1+2+3=")]
    responses = [prompt_template.encode("7" * length) for length in (9, 1, 5, 3)]

    def ratios(prompts, responses, budget):
        return log_ratios(*heads, prompts, responses, pad_id=0, micro_batch_tokens=budget)

    one_by_one = [ratios([prompts[row]], [responses[row]], 1000)[0] for row in range(4)]
    assert len(set(one_by_one)) == 4
    for budget in (1, 14, 1000):
        assert ratios(prompts, responses, budget) == pytest.approx(one_by_one, abs=1e-5)
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


@pytest.fixture
def evaluate(root, tmp_path, policy_directory):
    """Evaluate a policy of seed 0, with the shards in a directory of their own."""
    params = load_params(root / "presets/embedded.yaml")
    policy = policy_directory(0)
    questions = [Question(prompt, prompt, "7", "{}") for prompt in ("3+4=", "1+1+5=", "7=")]

    def of_policy(work, *, batch_size, greedy=True, reference=None, workers=ONE):
        evaluator = Evaluator(
            questions=questions,
            work=tmp_path / work,
            inspect=lambda rows: None,
            key="evaluate/0",
            rows=100,
            trust_remote_code=False,
            verifier=params.verifier,
            verifiers=tmp_path,
            generation=params.generation.model_copy(update={"max_new_tokens": 4}),
            sampler=params.sampler,
            evaluation=params.evaluation.model_copy(update={"samples": 2, "batch_size": batch_size}),
            workers=workers,
        )
        return evaluator.evaluate(
            "policy", policy, tokenizer=policy, template=params.template, greedy=greedy, reference=reference
        )

    return of_policy


def test_rows_are_by_prompt_however_shards_are_cut(evaluate, tmp_path, policy_directory):
    reference = policy_directory(1)
    rows = evaluate("whole", batch_size=64, reference=reference)
    assert rows["prompt_id"].tolist() == [prompt for prompt in ("3+4=", "1+1+5=", "7=") for _ in range(3)]
    assert rows["sample_index"].tolist() == [-1, 0, 1] * 3
    assert rows["log_ratio"].isna().tolist() == [True, False, False] * 3
    one_by_one = evaluate("cut", batch_size=2, reference=reference)
    for name in ("evaluate-policy", "kl-policy"):
        assert [len(list((tmp_path / work).glob(f"{name}-*"))) for work in ("whole", "cut")] == [1, 3]
    assert one_by_one["text"].tolist() == rows["text"].tolist()
    assert one_by_one["log_ratio"].tolist() == pytest.approx(
        rows["log_ratio"].tolist(), abs=1e-4, nan_ok=True
    )
    sampled = evaluate("sampled", batch_size=64, greedy=False)
    assert sampled["text"].tolist() == rows.loc[rows["sample_index"] >= 0, "text"].tolist()
    assert sampled["log_ratio"].isna().all()


def test_the_log_ratios_need_no_engine_again(evaluate, tmp_path, policy_directory, monkeypatch):
    """A kill after the responses: they are read from their shards, and no engine is opened again."""
    before = evaluate("work", batch_size=2, reference=policy_directory(1))
    for file in (tmp_path / "work").glob("kl-policy-*"):
        file.unlink()

    def refuse(*_, **__):
        raise AssertionError("sampled again")

    monkeypatch.setattr("tasks.responses.sample_jobs.open_sampler", refuse)
    assert evaluate("work", batch_size=2, reference=policy_directory(1)).equals(before)


def test_no_model_of_the_log_ratios_is_loaded_beside_an_open_engine(evaluate, policy_directory, monkeypatch):
    held = []
    open_sampler = sample_jobs.open_sampler

    @contextmanager
    def noting(*arguments, **options):
        with open_sampler(*arguments, **options) as sampler:
            held.append("engine")
            yield sampler
            held.remove("engine")

    def load(model):
        assert "engine" not in held
        held.append("model")
        return load_policy(model)

    monkeypatch.setattr(sample_jobs, "open_sampler", noting)
    monkeypatch.setattr(log_ratios_module, "load_policy", load)
    evaluate("work", batch_size=2, reference=policy_directory(1))
    assert held == ["model", "model"]


class TwoWorkers:
    """Makes every second shard by a worker of its own, in this process, and the last ones first."""

    def make(self, job, shards, keep):
        for number in (1, 0):
            own = dict(reversed(list(shards.items())[number::2]))
            make_here(pickle.loads(pickle.dumps(job)), own, keep)


def test_who_makes_a_shard_and_when_does_not_matter(evaluate, tmp_path, policy_directory):
    """Real processes: tests/integration/test_interruption.py."""
    reference = policy_directory(1)
    by_one = evaluate("one", batch_size=2, reference=reference)
    assert evaluate("two", batch_size=2, reference=reference, workers=TwoWorkers()).equals(by_one)
    files = {file.name: file.read_bytes() for file in (tmp_path / "one").glob("*.parquet")}
    assert len(files) == 6
    assert files == {file.name: file.read_bytes() for file in (tmp_path / "two").glob("*.parquet")}
