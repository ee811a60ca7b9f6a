"""Stage `evaluate`: reference and policy on the held-out prompts, greedy and sampled."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import pandas as pd
import torch
from transformers import PreTrainedModel

from apo_core import config
from apo_core.evaluation import summarise
from apo_core.files import sha256_of, write_json
from apo_core.logprobs import ResponseLogProbs, pad_rollouts
from apo_core.models import load_policy
from apo_core.sampling.scored import Question, Scored, sample_and_score
from apo_core.tables import EVALUATIONS, write_table
from apo_core.tokenization import Template, stop_ids
from apo_core.verifiers import Scorer
from tasks.encoder import encoder_of
from tasks.inputs import conditions_of_values, order_of, questions_of, read_split
from tasks.resume import open_work, run_shards
from tasks.samplers import engine_of, open_sampler
from tasks.scoring import limits_of, scorer_of, spending, verifier_of
from tasks.stage import Facts
from tasks.workers import in_turn
from tasks.workspace import Workspace


def run(
    workspace: Workspace,
    seed: int,
    trust_remote_code: bool,
    template: config.Template,
    verifier: config.Verifier,
    generation: config.Generation,
    sampler: config.Sampler,
    evaluation: config.Evaluation,
) -> Facts:
    """Write `data/evaluations.parquet` and `reports/eval.json`, from shards that survive a kill."""
    judge = verifier_of(verifier, workspace.raw_verifiers)
    prompts = read_split(workspace, "eval")
    encoder = encoder_of(workspace.reference, template, trust_remote_code)
    conditions = conditions_of_values(workspace, template, generation, judge, prompts)
    work = open_work(
        workspace.work("evaluate"),
        {
            **conditions,
            "order": order_of(prompts),
            "policy": sha256_of(workspace.policy),
            "engine": engine_of(sampler),
            "limits": limits_of(verifier),
            "evaluation": evaluation.model_dump(mode="json"),
            "seed": seed,
        },
    )
    count = 2 * (1 + evaluation.samples) * len(prompts)
    inspect = spending(verifier, rows=count)
    with scorer_of(verifier, workspace.raw_verifiers, rows=count) as scorer:
        tables = [
            _evaluate(
                name, workspace, work, questions_of(prompts), seed, trust_remote_code, template, generation,
                sampler, evaluation, encoder, scorer, inspect,
            )
            for name in ("reference", "policy")
        ]  # fmt: skip
    rows = pd.concat(tables, ignore_index=True)
    write_table(workspace.evaluations, rows, EVALUATIONS, {"fingerprint": conditions})
    write_json(workspace.evaluation, summarise(rows, seed=seed))
    errors = int(rows["reward"].isna().sum())
    return {"prompts": len(prompts), "responses": len(rows), "verifier_errors": errors}


def _evaluate(
    name: str,
    workspace: Workspace,
    work: Path,
    questions: list[Question],
    seed: int,
    trust_remote_code: bool,
    template: config.Template,
    generation: config.Generation,
    sampler: config.Sampler,
    evaluation: config.Evaluation,
    encoder: Template,
    scorer: Scorer,
    inspect: Callable[[pd.DataFrame], None],
) -> pd.DataFrame:
    """Greedy and sampled responses of one of the two policies."""
    directories = {"reference": workspace.reference, "policy": workspace.policy}

    @cache
    def load(key: str) -> PreTrainedModel:
        return load_policy(directories[key], dtype=evaluation.dtype, trust_remote_code=trust_remote_code)

    def shard(asked: list[Question]) -> pd.DataFrame:
        rows = []
        for n, key in ((1, None), (evaluation.samples, f"evaluate/{seed}")):
            scored = sample_and_score(
                asked,
                n,
                sampler=engine,
                template=encoder,
                scorer=scorer,
                max_new_tokens=generation.max_new_tokens,
                temperature=generation.temperature,
                key=key,
            )
            ratios = (
                _log_ratios(heads, scored, encoder, evaluation.batch_size)
                if key and name == "policy"
                else [None] * len(scored)
            )
            rows += [
                evaluation_row(name, one, ratio, greedy=key is None)
                for one, ratio in zip(scored, ratios, strict=True)
            ]
        return pd.DataFrame(rows).astype({"reward": "float64", "log_ratio": "float64"})

    with open_sampler(
        sampler,
        directories[name],
        partial(load, name),
        encoder.tokenizer,
        dtype=evaluation.dtype,
        batch_size=evaluation.batch_size,
        stop=stop_ids(encoder.tokenizer, generation.stop_character),
        max_length=template.max_prompt_tokens + generation.max_new_tokens,
        trust_remote_code=trust_remote_code,
    ) as engine:
        # Only the policy's responses need log-probs; beside vLLM these models are there for nothing else.
        measured = ("reference", "policy") if name == "policy" else ()
        heads = [ResponseLogProbs(load(key), temperature=generation.temperature) for key in measured]
        return run_shards(
            work,
            questions,
            in_turn(shard),
            shard_size=max(1, evaluation.batch_size // evaluation.samples),
            schema=EVALUATIONS,
            name=f"evaluate-{name}",
            inspect=inspect,
        )


@torch.no_grad()
def _log_ratios(
    heads: list[ResponseLogProbs], scored: list[Scored], encoder: Template, batch_size: int
) -> list[float]:
    """Ln pi(y|x) - ln pi_ref(y|x) of the policy's own samples: their mean estimates the KL."""
    reference, policy = heads
    ratios: list[float] = []
    for start in range(0, len(scored), batch_size):
        rows = scored[start : start + batch_size]
        batch = pad_rollouts(
            [encoder.encode(row.question.prompt) for row in rows],
            [row.response.token_ids for row in rows],
            encoder.tokenizer.pad_token_id,
        ).to(policy.model.device)
        ratios += (policy(*batch) - reference(*batch)).tolist()
    return ratios


def evaluation_row(
    policy: str, scored: Scored, log_ratio: float | None, *, greedy: bool
) -> dict[str, object]:
    """A row of `tables.EVALUATIONS`."""
    return {
        "prompt_id": scored.question.prompt_id,
        "policy": policy,
        "sample_index": -1 if greedy else scored.sample_index,
        "text": scored.text,
        "finish_reason": scored.response.finish_reason,
        "reward": scored.reward,
        "reason": scored.reason,
        "log_ratio": log_ratio,
    }
