"""A policy is asked the held-out prompts: reference, policy and champion in the same way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from apo_core import config
from apo_core.model.directory import ModelRef
from apo_core.model.loading import load_policy
from apo_core.model.log_probs import ResponseLogProbs
from apo_core.model.micro_batch import micro_batches, pad_responses, sum_tokens
from apo_core.model.template import Template, stop_ids
from apo_core.sampling import Sampler
from apo_core.sampling.scored import Question, Scored, sample_and_score
from apo_core.tables import EVALUATIONS
from apo_core.verifiers import Scorer
from tasks.responses.samplers import engine_of, open_sampler
from tasks.responses.scoring import limits_of
from tasks.responses.shards import run_shards
from tasks.responses.workers import in_turn

Ratios = Callable[[list[Scored]], list[float]]


@dataclass(frozen=True)
class Asking:
    """How every policy is asked; which one, and with which template, is up to the call."""

    seed: int
    trust_remote_code: bool
    verifier: config.Verifier
    generation: config.Generation
    sampler: config.Sampler
    evaluation: config.Evaluation

    def conditions(self) -> dict[str, Any]:
        """What decides the responses beside the policy, the prompts and their fingerprint."""
        return {
            "engine": engine_of(self.sampler),
            "limits": limits_of(self.verifier),
            "evaluation": self.evaluation.model_dump(mode="json"),
            "seed": self.seed,
        }

    def ask(
        self,
        questions: list[Question],
        work: Path,
        *,
        name: str,
        policy: str,
        directory: Path,
        encoder: Template,
        scorer: Scorer,
        inspect: Callable[[pd.DataFrame], None],
        greedy: bool,
        reference: Path | None,
    ) -> pd.DataFrame:
        """Rows of `tables.EVALUATIONS`, from shards that survive a kill.

        Args:
            questions: the held-out prompts.
            work: directory of the shards, from `open_work`.
            name: of the shards.
            policy: what the rows call it.
            directory: of the policy.
            encoder: its template.
            scorer: of the responses.
            inspect: is shown the rows of every shard, and may refuse them.
            greedy: ask for a greedy response beside the sampled ones.
            reference: directory of the policy to measure the log-ratio to; None measures none.
        """
        rules = self.evaluation
        load = cache(load_policy)
        model_at = partial(ModelRef, dtype=rules.dtype, trust_remote_code=self.trust_remote_code)
        source = model_at(path=directory)
        longest = max(len(encoder.encode(question.prompt)) for question in questions)
        with open_sampler(
            self.sampler,
            source,
            partial(load, source),
            encoder.tokenizer,
            batch_size=rules.batch_size,
            stop=stop_ids(encoder.tokenizer, self.generation.stop_character),
            max_length=longest + self.generation.max_new_tokens,
        ) as engine:
            ratios: Ratios | None = None
            if reference is not None:  # beside vLLM these models are there for nothing else
                heads = [
                    ResponseLogProbs(load(model), temperature=self.generation.temperature)
                    for model in (model_at(path=reference), source)
                ]
                ratios = partial(_log_ratios, heads, encoder, rules.micro_batch_tokens)
            return run_shards(
                work,
                questions,
                in_turn(partial(self._shard, engine, encoder, scorer, policy, greedy, ratios)),
                shard_size=max(1, rules.batch_size // rules.samples),
                schema=EVALUATIONS,
                name=name,
                inspect=inspect,
            )

    def _shard(
        self,
        engine: Sampler,
        encoder: Template,
        scorer: Scorer,
        policy: str,
        greedy: bool,
        ratios: Ratios | None,
        questions: list[Question],
    ) -> pd.DataFrame:
        draw = partial(
            sample_and_score,
            questions,
            sampler=engine,
            template=encoder,
            scorer=scorer,
            max_new_tokens=self.generation.max_new_tokens,
            temperature=self.generation.temperature,
        )
        rows = [_row(policy, -1, one, None) for one in draw(1, key=None)] if greedy else []
        sampled = draw(self.evaluation.samples, key=f"evaluate/{self.seed}")
        measured = [None] * len(sampled) if ratios is None else ratios(sampled)
        rows += [
            _row(policy, one.sample_index, one, ratio) for one, ratio in zip(sampled, measured, strict=True)
        ]
        # By prompt, and not by how shards were cut.
        order = {question.prompt_id: position for position, question in enumerate(questions)}
        rows.sort(key=lambda row: order[str(row["prompt_id"])])
        return pd.DataFrame(rows).astype({"reward": "float64", "log_ratio": "float64"})


@torch.no_grad()
def _log_ratios(
    heads: list[ResponseLogProbs], encoder: Template, micro_batch_tokens: int, scored: list[Scored]
) -> list[float]:
    """Ln pi(y|x) - ln pi_ref(y|x) of the policy's own samples: their mean estimates the KL."""
    reference, policy = heads
    prompts = [encoder.encode(one.question.prompt) for one in scored]
    responses = [one.response.token_ids for one in scored]
    lengths = [len(prompt) + len(response) for prompt, response in zip(prompts, responses, strict=True)]
    ratios = [0.0] * len(scored)
    for rows in micro_batches(lengths, max_tokens=micro_batch_tokens):
        batch = pad_responses(
            [prompts[row] for row in rows],
            [responses[row] for row in rows],
            encoder.tokenizer.pad_token_id,
            policy.model.device,
        )
        ours, theirs = (sum_tokens(head(*batch.inputs), batch.mask) for head in (policy, reference))  # (R,)
        for row, ratio in zip(rows, (ours - theirs).tolist(), strict=True):
            ratios[row] = ratio
    return ratios


def _row(policy: str, sample_index: int, scored: Scored, log_ratio: float | None) -> dict[str, object]:
    return {
        "prompt_id": scored.question.prompt_id,
        "policy": policy,
        "sample_index": sample_index,
        "text": scored.text,
        "finish_reason": scored.response.finish_reason,
        "extracted": scored.extracted,
        "reward": scored.reward,
        "reason": scored.reason,
        "log_ratio": log_ratio,
    }
