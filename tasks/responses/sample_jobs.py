"""The work of a sampling worker: sample responses from the reference and score them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
from apo_core.sampling.scored import Question, Scored, sample_and_score
from apo_core.tables import SAMPLES
from apo_core.values.adaptive import sample_until_settled
from apo_core.values.pooled import Prior, successes
from tasks.prompts.prompt_template import load_prompt_template
from tasks.responses.samplers import open_sampler
from tasks.responses.scoring import scorer_of

# Questions, responses per question and the index of the first response, to rows of `tables.SAMPLES`.
SampleRows = Callable[[list[Question], int, int], pd.DataFrame]


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """Everything a worker needs to sample and score responses by itself."""

    reference: Path
    """Absolute; every machine sees it."""
    verifiers: Path
    """The user's own verifier modules; likewise."""
    seed: int
    trust_remote_code: bool
    template: config.Template
    verifier: config.Verifiers
    generation: config.Generation
    sampler: config.Sampler
    sampling: config.Sampling
    rows: int
    """Rows that all workers together score, at most."""

    @contextmanager
    def open(self) -> Iterator[SampleRows]:
        """Open scorer and engine; what is entered samples and scores."""
        source = ModelRef(
            path=self.reference, dtype=self.sampling.dtype, trust_remote_code=self.trust_remote_code
        )
        prompt_template = load_prompt_template(source, self.template)
        tokenizer = prompt_template.tokenizer
        with (
            scorer_of(
                self.verifier, self.verifiers, rows=self.rows, prompt_template=prompt_template
            ) as scorer,
            open_sampler(
                self.sampler,
                source,
                partial(load_policy, source),
                tokenizer,
                batch_size=self.sampling.batch_size,
                stop=stop_ids(tokenizer, self.generation.stop_character),
                max_length=self.template.max_prompt_tokens + self.generation.max_new_tokens,
            ) as sampler,
        ):

            def sample_rows(questions: list[Question], n: int, start: int) -> pd.DataFrame:
                scored = sample_and_score(
                    questions,
                    n,
                    sampler=sampler,
                    template=prompt_template,
                    scorer=scorer,
                    max_new_tokens=self.generation.max_new_tokens,
                    temperature=self.generation.temperature,
                    key=f"sample/{self.seed}",
                    start=start,
                )
                return pd.DataFrame(map(_row, scored)).astype({"reward": "float64"})

            yield sample_rows


@dataclass(frozen=True)
class SampleJob:
    """Sample the first responses to every question."""

    spec: JobSpec
    n: int

    @contextmanager
    def open(self) -> Iterator[Callable[[list[Question]], pd.DataFrame]]:
        """See `tasks.responses.workers.Job`."""
        with self.spec.open() as sample_rows:
            yield lambda questions: sample_rows(questions, self.n, 0)


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

    @contextmanager
    def open(self) -> Iterator[Callable[[list[Tally]], pd.DataFrame]]:
        """See `tasks.responses.workers.Job`."""
        with self.spec.open() as sample_rows:
            yield partial(self._settle, sample_rows)

    def _settle(self, sample_rows: SampleRows, tallies: list[Tally]) -> pd.DataFrame:
        frames = [pd.DataFrame(columns=SAMPLES.names)]

        def sample_more(positions: list[int], start: int, size: int) -> tuple[Tensor, Tensor]:
            frames.append(sample_rows([tallies[position].question for position in positions], size, start))
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
            limit=self.spec.sampling.n,
        )
        return frames[0] if len(frames) == 1 else pd.concat(frames[1:], ignore_index=True)


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
