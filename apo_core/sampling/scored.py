"""Sample and score several responses per prompt, for stages `sample` and `evaluate`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from apo_core.model.template import Template
from apo_core.sampling.base import Response, Sampler
from apo_core.verifiers import Scorer, attempt_at

GREEDY_INDEX = -1  # `sample_index` of a greedy response


class Question(NamedTuple):
    """A prompt to sample responses to."""

    prompt_id: str
    prompt: str
    answer: str
    row: str  # JSON: see `tables.PROMPTS`
    set: str = ""  # of prompts
    group: str | None = None


class Sampled(NamedTuple):
    """One response to a question."""

    question: Question
    sample_index: int
    response: Response
    text: str


class Scored(NamedTuple):
    """One response to a question, and its reward; None where the verifier failed."""

    question: Question
    sample_index: int
    response: Response
    text: str
    reward: float | None
    extracted: str | None  # what the verifier read as the answer
    reason: str
    parts: dict[str, float] | None = None  # see `Verdict`

    @property
    def parts_text(self) -> str | None:
        """The parts as tables hold them."""
        return None if self.parts is None else json.dumps(self.parts)


def sample_questions(
    questions: list[Question],
    indices: Sequence[int],
    *,
    sampler: Sampler,
    template: Template,
    max_new_tokens: int,
    temperature: float,
    key: str,
) -> list[Sampled]:
    """Sample a response per question and index, all in one call of the engine.

    Args:
        questions: each is independent of the others: its randomness comes from `key`, its id and the index.
        indices: of the responses to every question; the one of `GREEDY_INDEX` is greedy.
        sampler: the policy's.
        template: turns prompts into token ids.
        max_new_tokens: the longest response.
        temperature: of the softmax.
        key: what the randomness is for (stage and seed).

    Returns:
        A row per index of every question, in order.
    """
    rows = [(question, index) for question in questions for index in indices]
    prompts = [template.encode(question.prompt) for question in questions]
    responses = sampler.generate(
        [token_ids for token_ids in prompts for _ in indices],
        [
            None if index == GREEDY_INDEX else f"{key}/{question.prompt_id}/{index}"
            for question, index in rows
        ],
        max_new_tokens=max_new_tokens,
        temperature=temperature,
    )
    return [
        Sampled(question, index, response, template.decode(response.token_ids))
        for (question, index), response in zip(rows, responses, strict=True)
    ]


def score_samples(samples: list[Sampled], scorer: Scorer, *, max_new_tokens: int) -> list[Scored]:
    """Have the verifier reward responses, in order; `max_new_tokens` is the longest that was allowed."""
    verdicts = scorer.score(
        [
            attempt_at(sample.question, sample.text, len(sample.response.token_ids), max_new_tokens)
            for sample in samples
        ]
    )
    return [Scored(*sample, *verdict) for sample, verdict in zip(samples, verdicts, strict=True)]
