"""Evaluate a policy on the held-out prompts: reference, policy and champion in the same way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa

from apo_core import config
from apo_core.model.directory import ModelRef
from apo_core.sampling.scored import GREEDY_INDEX, Question
from apo_core.tables import SAMPLES
from tasks.prompts.prompt_template import load_prompt_template
from tasks.responses.jobs import Item, Job
from tasks.responses.log_ratios import LOG_RATIOS, Answered, LogRatioJob
from tasks.responses.sample_jobs import JobSpec, SampleJob
from tasks.responses.shards import run_shards
from tasks.responses.workers import Workers


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
    rows: int
    """Rows that all evaluations together score, at most."""
    trust_remote_code: bool
    verifier: config.Verifiers
    verifiers: Path
    """Directory of the user's own verifier modules."""
    generation: config.Generation
    sampler: config.Sampler
    evaluation: config.Evaluation
    workers: Workers

    def evaluate(
        self,
        name: str,
        directory: Path,
        *,
        tokenizer: Path,
        template: config.Template,
        greedy: bool,
        reference: Path | None,
    ) -> pd.DataFrame:
        """Rows of `tables.EVALUATIONS`, from shards that survive a kill.

        Responses first, of all prompts. The log-ratios follow once the engine that sampled is closed: its
        memory and two models are not held at once.

        Args:
            name: of the policy, in the rows and in the shards' names.
            directory: of the policy.
            tokenizer: directory of the prompts' tokenizer; the template decides with it whether responses
                begin inside a thinking part, too.
            template: of the policy.
            greedy: add a greedy response per prompt to the sampled ones.
            reference: directory of the policy to measure the log-ratio to; None measures none.
        """
        spec = self._spec(directory, tokenizer, template)
        indices = [*([GREEDY_INDEX] if greedy else []), *range(self.evaluation.samples)]
        rows = self._run(
            SampleJob(spec, indices), self.questions, SAMPLES, f"evaluate-{name}", self.inspect
        ).assign(policy=name)
        if reference is None:
            rows = rows.assign(log_ratio=float("nan"))
        else:
            job = self._log_ratio_job(spec, reference)
            ratios = self._run(job, self._answered(rows), LOG_RATIOS, f"kl-{name}")
            keys = ["prompt_id", "sample_index"]
            rows = rows.merge(ratios, on=keys, how="left", validate="one_to_one")
        return rows.drop(columns="token_ids")

    def _run(
        self,
        job: Job[Item],
        items: list[Item],
        schema: pa.Schema,
        name: str,
        inspect: Callable[[pd.DataFrame], None] | None = None,
    ) -> pd.DataFrame:
        return run_shards(
            self.work,
            items,
            partial(self.workers.make, job),
            shard_size=self.evaluation.shard_prompts,
            schema=schema,
            name=name,
            inspect=inspect,
        )

    def _spec(self, directory: Path, tokenizer: Path, template: config.Template) -> JobSpec:
        prompts, limit = self._model(tokenizer), self.generation.max_new_tokens
        return JobSpec(
            policy=self._model(directory),
            tokenizer=prompts,
            verifiers=self.verifiers.resolve(),
            template=template,
            verifier=self.verifier,
            generation=self.generation,
            sampler=self.sampler,
            key=self.key,
            batch_size=self.evaluation.batch_size,
            max_length=self._longest_prompt(prompts, template) + limit,
            rows=self.rows,
            shaped=False,
        )

    def _model(self, directory: Path) -> ModelRef:
        return ModelRef(
            path=directory.resolve(),
            dtype=self.evaluation.dtype,
            trust_remote_code=self.trust_remote_code,
        )

    def _longest_prompt(self, tokenizer: ModelRef, template: config.Template) -> int:
        prompt_template = load_prompt_template(tokenizer, template)
        return max(len(prompt_template.encode(question.prompt)) for question in self.questions)

    def _log_ratio_job(self, spec: JobSpec, reference: Path) -> LogRatioJob:
        return LogRatioJob(
            policy=spec.policy,
            reference=self._model(reference),
            tokenizer=spec.tokenizer,
            template=spec.template,
            temperature=self.generation.temperature,
            micro_batch_tokens=self.evaluation.micro_batch_tokens,
        )

    def _answered(self, rows: pd.DataFrame) -> list[Answered]:
        """The questions with their sampled responses."""
        sampled = rows[rows["sample_index"] != GREEDY_INDEX]
        responses = {
            prompt_id: [token_ids.tolist() for token_ids in own]
            for prompt_id, own in sampled.groupby("prompt_id")["token_ids"]
        }
        return [
            Answered(question.prompt_id, question.prompt, responses[question.prompt_id])
            for question in self.questions
        ]
