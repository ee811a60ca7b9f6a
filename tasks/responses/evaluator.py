"""Evaluate a policy on the held-out prompts: reference, policy and champion in the same way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import pandas as pd
import torch

from apo_core import config
from apo_core.model.directory import ModelRef
from apo_core.model.loading import load_policy
from apo_core.model.log_probs import ResponseLogProbs
from apo_core.model.micro_batch import micro_batches, pad_responses, sum_tokens
from apo_core.model.template import Template, stop_ids
from apo_core.sampling.scored import Question, Scored, sample_and_score
from apo_core.tables import EVALUATIONS
from apo_core.verifiers import Scorer
from tasks.responses.samplers import open_sampler
from tasks.responses.shards import run_shards
from tasks.responses.workers import run_serially

GREEDY_INDEX = -1  # `sample_index` of a greedy response


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """Samples and scores responses to the held-out prompts; what is the same for every policy."""

    questions: list[Question]
    work: Path
    """Directory of the shards, from `open_work`."""
    inspect: Callable[[pd.DataFrame], None]
    """Is given the rows of every shard, and may refuse them."""
    key: str
    """Of the random numbers: another key, other responses."""
    trust_remote_code: bool
    generation: config.Generation
    sampler: config.Sampler
    evaluation: config.Evaluation

    def evaluate(
        self,
        name: str,
        directory: Path,
        prompt_template: Template,
        *,
        scorer: Scorer,
        greedy: bool,
        reference: Path | None,
    ) -> pd.DataFrame:
        """Rows of `tables.EVALUATIONS`, from shards that survive a kill.

        Args:
            name: of the policy, in the rows and in the shards' names.
            directory: of the policy.
            prompt_template: of the policy.
            scorer: of responses to that template, which says whether they begin inside a thinking part.
            greedy: add a greedy response per prompt to the sampled ones.
            reference: directory of the policy to measure the log-ratio to; None measures none.
        """
        evaluation, generation, tokenizer = self.evaluation, self.generation, prompt_template.tokenizer
        # Sampler and log-ratios share the policy's model; vLLM without log-ratios needs none.
        load = cache(load_policy)
        model_at = partial(ModelRef, dtype=evaluation.dtype, trust_remote_code=self.trust_remote_code)
        source = model_at(path=directory)
        longest = max(len(prompt_template.encode(question.prompt)) for question in self.questions)
        with open_sampler(
            self.sampler,
            source,
            partial(load, source),
            tokenizer,
            batch_size=evaluation.batch_size,
            stop=stop_ids(tokenizer, generation.stop_character),
            max_length=longest + generation.max_new_tokens,
        ) as sampler:
            log_probs = [
                ResponseLogProbs(load(model), temperature=generation.temperature)
                for model in ([] if reference is None else [source, model_at(path=reference)])
            ]
            sample = partial(
                sample_and_score,
                sampler=sampler,
                template=prompt_template,
                scorer=scorer,
                max_new_tokens=generation.max_new_tokens,
                temperature=generation.temperature,
            )

            def evaluate_shard(questions: list[Question]) -> pd.DataFrame:
                rows = []
                if greedy:
                    rows += [
                        _row(name, GREEDY_INDEX, scored, None) for scored in sample(questions, 1, key=None)
                    ]
                sampled = sample(questions, evaluation.samples, key=self.key)
                ratios: list[float] | list[None] = [None] * len(sampled)
                if log_probs:
                    ratios = log_ratios(*log_probs, prompt_template, evaluation.micro_batch_tokens, sampled)
                rows += [
                    _row(name, scored.sample_index, scored, ratio)
                    for scored, ratio in zip(sampled, ratios, strict=True)
                ]
                return _by_prompt(rows, questions)

            return run_shards(
                self.work,
                self.questions,
                partial(run_serially, evaluate_shard),
                shard_size=max(1, evaluation.batch_size // evaluation.samples),
                schema=EVALUATIONS,
                name=f"evaluate-{name}",
                inspect=self.inspect,
            )


@torch.no_grad()
def log_ratios(
    policy: ResponseLogProbs,
    reference: ResponseLogProbs,
    prompt_template: Template,
    micro_batch_tokens: int,
    sampled: list[Scored],
) -> list[float]:
    """Ln pi(y|x) - ln pi_ref(y|x) of the policy's own samples; their mean estimates the KL."""
    prompts = [prompt_template.encode(scored.question.prompt) for scored in sampled]
    responses = [scored.response.token_ids for scored in sampled]
    lengths = [len(prompt) + len(response) for prompt, response in zip(prompts, responses, strict=True)]
    ratios = [0.0] * len(sampled)
    for rows in micro_batches(lengths, max_tokens=micro_batch_tokens):
        batch = pad_responses(
            [prompts[row] for row in rows],
            [responses[row] for row in rows],
            prompt_template.tokenizer.pad_token_id,
            policy.model.device,
        )
        of_policy, of_reference = (
            sum_tokens(log_probs(*batch.inputs), batch.mask) for log_probs in (policy, reference)
        )  # (R,)
        for row, ratio in zip(rows, (of_policy - of_reference).tolist(), strict=True):
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
        "parts": scored.parts_text,
        "log_ratio": log_ratio,
    }


def _by_prompt(rows: list[dict[str, object]], questions: list[Question]) -> pd.DataFrame:
    """The table of a shard, sorted by prompt: rows do not depend on how shards were cut."""
    position = {question.prompt_id: index for index, question in enumerate(questions)}
    rows.sort(key=lambda row: position[str(row["prompt_id"])])
    return pd.DataFrame(rows).astype({"reward": "float64", "log_ratio": "float64"})
