"""The work of a sampling worker: sample responses from a policy and score them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

from apo_core import config
from apo_core.model.directory import ModelRef
from apo_core.model.loading import load_policy
from apo_core.model.template import stop_ids
from apo_core.sampling.scored import Question, Scored, sample_questions, score_samples
from apo_core.tables import SAMPLES
from apo_core.values.adaptive import sample_until_settled
from apo_core.values.pooled import Prior, successes
from tasks.prompts.prompt_template import load_prompt_template
from tasks.responses.jobs import Sample, Score
from tasks.responses.samplers import open_sampler
from tasks.responses.scoring import scorer_of

# Questions and the indices of the responses to each, to what scores them: rows of `tables.SAMPLES`.
SampleRows = Callable[[list[Question], Sequence[int]], Score]


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """Everything a worker needs to sample and score responses by itself. Every machine sees its files."""

    policy: ModelRef
    """Its directory is absolute, as all are."""
    tokenizer: ModelRef
    """Where the prompts' tokenizer is: the policy, or the reference that it was trained from."""
    verifiers: Path
    """The user's own verifier modules."""
    template: config.Template
    verifier: config.Verifiers
    generation: config.Generation
    sampler: config.Sampler
    key: str
    """Of the random numbers: another key, other responses."""
    batch_size: int
    """Responses decoded at once by transformers."""
    max_length: int
    """Tokens of the longest prompt and its response together."""
    rows: int
    """Rows that all workers together score, at most."""
    shaped: bool
    """Whether a long response loses what `verifier.overlong` says."""

    @contextmanager
    def open(self, own_cores: int) -> Iterator[SampleRows]:
        """Open scorer and engine; what is entered samples, and its results score."""
        prompt_template = load_prompt_template(self.tokenizer, self.template)
        tokenizer, max_new_tokens = prompt_template.tokenizer, self.generation.max_new_tokens
        with scorer_of(
            self.verifier,
            self.verifiers,
            rows=self.rows,
            prompt_template=prompt_template,
            shaped=self.shaped,
            own_cores=own_cores,
        ) as scorer:
            scorer.check()  # starts its processes by this thread, with which they end, and on all its cores
            with open_sampler(
                self.sampler,
                self.policy,
                partial(load_policy, self.policy),
                tokenizer,
                batch_size=self.batch_size,
                stop=stop_ids(tokenizer, self.generation.stop_character),
                max_length=self.max_length,
            ) as sampler:

                def sample_rows(questions: list[Question], indices: Sequence[int]) -> Score:
                    samples = sample_questions(
                        questions,
                        indices,
                        sampler=sampler,
                        template=prompt_template,
                        max_new_tokens=max_new_tokens,
                        temperature=self.generation.temperature,
                        key=self.key,
                    )
                    return lambda: _table(score_samples(samples, scorer, max_new_tokens=max_new_tokens))

                yield sample_rows


@dataclass(frozen=True)
class SampleJob:
    """Sample the responses of certain indices to every question."""

    spec: JobSpec
    indices: Sequence[int]

    @contextmanager
    def open(self, own_cores: int) -> Iterator[Sample[Question]]:
        """See `tasks.responses.jobs.Job`."""
        with self.spec.open(own_cores) as sample_rows:
            yield lambda questions: sample_rows(questions, self.indices)


class Tally(NamedTuple):
    """A question with the successes of its first samples, and how many of these were scored."""

    question: Question
    successes: float
    scored: int


@dataclass(frozen=True)
class SettleJob:
    """Sample further responses to every question whose V* is not known well enough yet."""

    spec: JobSpec
    adaptive: config.Adaptive
    prior: Prior
    limit: int
    """Responses per question, at most."""

    @contextmanager
    def open(self, own_cores: int) -> Iterator[Sample[Tally]]:
        """See `tasks.responses.jobs.Job`."""
        with self.spec.open(own_cores) as sample_rows:
            yield partial(self._settle, sample_rows)

    def _settle(self, sample_rows: SampleRows, tallies: list[Tally]) -> Score:
        frames = [pd.DataFrame(columns=SAMPLES.names)]

        def sample_more(positions: list[int], start: int, size: int) -> tuple[Tensor, Tensor]:
            questions = [tallies[position].question for position in positions]
            frames.append(sample_rows(questions, range(start, start + size))())  # rewards decide what follows
            rewards = torch.tensor(frames[-1]["reward"].to_numpy()).view(-1, size)  # NaN where not scored
            return successes(rewards, self.adaptive.beta1).nansum(dim=1), (~rewards.isnan()).sum(dim=1)

        sample_until_settled(
            torch.tensor([tally.successes for tally in tallies], dtype=torch.float64),
            torch.tensor([tally.scored for tally in tallies], dtype=torch.float64),
            sample_more,
            prior=self.prior,
            beta1=self.adaptive.beta1,
            deviation=self.adaptive.deviation,
            first=self.adaptive.first,
            limit=self.limit,
        )
        rows = frames[0] if len(frames) == 1 else pd.concat(frames[1:], ignore_index=True)
        return lambda: rows


def _table(rows: list[Scored]) -> pd.DataFrame:
    return pd.DataFrame(map(_row, rows)).astype({"reward": "float64"})


def _row(scored: Scored) -> dict[str, object]:
    return {
        "prompt_id": scored.question.prompt_id,
        "sample_index": scored.sample_index,
        "token_ids": scored.response.token_ids,
        "text": scored.text,
        "finish_reason": scored.response.finish_reason,
        "extracted": scored.extracted,
        "reward": scored.reward,
        "reason": scored.reason,
        "parts": scored.parts_text,
    }
