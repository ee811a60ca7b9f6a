"""What a worker of stage `sample` does by itself: draw responses from the reference and score them."""

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
from apo_core.values.adaptive import draw_until_settled
from apo_core.values.pooled import Prior, successes
from tasks.prompts.template import encoder_of
from tasks.responses.samplers import open_sampler
from tasks.responses.scoring import scorer_of

# Questions, how many responses each and the index of the first, to rows of `tables.SAMPLES`
DrawRows = Callable[[list[Question], int, int], pd.DataFrame]


@dataclass(frozen=True)
class Settings:
    """What a worker needs to draw and score responses by itself."""

    reference: Path  # absolute; every machine sees it
    verifiers: Path  # likewise
    seed: int
    trust_remote_code: bool
    template: config.Template
    verifier: config.Verifier
    generation: config.Generation
    sampler: config.Sampler
    sampling: config.Sampling
    rows: int  # of all workers together, at most

    @contextmanager
    def open(self) -> Iterator[DrawRows]:
        """What draws and scores, for as long as its engine is open."""
        source = ModelRef(
            path=self.reference, dtype=self.sampling.dtype, trust_remote_code=self.trust_remote_code
        )
        encoder = encoder_of(source, self.template)
        with (
            scorer_of(self.verifier, self.verifiers, rows=self.rows) as scorer,
            open_sampler(
                self.sampler,
                source,
                partial(load_policy, source),
                encoder.tokenizer,
                batch_size=self.sampling.batch_size,
                stop=stop_ids(encoder.tokenizer, self.generation.stop_character),
                max_length=self.template.max_prompt_tokens + self.generation.max_new_tokens,
            ) as engine,
        ):

            def draw(questions: list[Question], n: int, start: int) -> pd.DataFrame:
                scored = sample_and_score(
                    questions,
                    n,
                    sampler=engine,
                    template=encoder,
                    scorer=scorer,
                    max_new_tokens=self.generation.max_new_tokens,
                    temperature=self.generation.temperature,
                    key=f"sample/{self.seed}",
                    start=start,
                )
                return pd.DataFrame(map(_row, scored)).astype({"reward": "float64"})

            yield draw


@dataclass(frozen=True)
class SampleJob:
    """The first responses to every question."""

    settings: Settings
    n: int

    @contextmanager
    def open(self) -> Iterator[Callable[[list[Question]], pd.DataFrame]]:
        """See `tasks.responses.workers.Job`."""
        with self.settings.open() as draw:
            yield lambda questions: draw(questions, self.n, 0)


class Tally(NamedTuple):
    """A question and what its first samples came to."""

    question: Question
    successes: float
    scored: int


@dataclass(frozen=True)
class SettleJob:
    """Further responses to every question whose V* is not known yet."""

    settings: Settings
    rule: config.Adaptive
    prior: Prior

    @contextmanager
    def open(self) -> Iterator[Callable[[list[Tally]], pd.DataFrame]]:
        """See `tasks.responses.workers.Job`."""
        with self.settings.open() as draw:
            yield partial(self._settle, draw)

    def _settle(self, draw: DrawRows, tallies: list[Tally]) -> pd.DataFrame:
        frames = [pd.DataFrame(columns=SAMPLES.names)]

        def more(positions: list[int], start: int, size: int) -> tuple[Tensor, Tensor]:
            frames.append(draw([tallies[position].question for position in positions], size, start))
            rewards = torch.tensor(frames[-1]["reward"].to_numpy()).view(-1, size)  # NaN where not scored
            return successes(rewards, self.rule.beta1).nansum(dim=1), (~rewards.isnan()).sum(dim=1)

        draw_until_settled(
            torch.tensor([tally.successes for tally in tallies], dtype=torch.float64),
            torch.tensor([tally.scored for tally in tallies], dtype=torch.float64),
            more,
            prior=self.prior,
            beta1=self.rule.beta1,
            deviation=self.rule.deviation,
            first=self.rule.first,
            limit=self.settings.sampling.n,
        )
        return frames[0] if len(frames) == 1 else pd.concat(frames[1:], ignore_index=True)


def _row(scored: Scored) -> dict[str, object]:
    return {
        "prompt_id": scored.question.prompt_id,
        "sample_index": scored.sample_index,
        "token_ids": scored.response.token_ids,
        "text": scored.text,
        "finish_reason": scored.response.finish_reason,
        "reward": scored.reward,
        "reason": scored.reason,
    }
