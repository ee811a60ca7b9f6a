"""Sample and score several responses per prompt, for stages `sample` and `evaluate`."""

from __future__ import annotations

import json
from typing import NamedTuple

from apo_core.model.template import Template
from apo_core.sampling.base import Response, Sampler
from apo_core.verifiers import Scorer, attempt_at


class Question(NamedTuple):
    """A prompt to sample responses to."""

    prompt_id: str
    prompt: str
    answer: str
    row: str  # JSON: see `tables.PROMPTS`
    set: str = ""  # of prompts
    group: str | None = None


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


def sample_and_score(
    questions: list[Question],
    n: int,
    *,
    sampler: Sampler,
    template: Template,
    scorer: Scorer,
    max_new_tokens: int,
    temperature: float,
    key: str | None,
    start: int = 0,
) -> list[Scored]:
    """Sample and score `n` responses to each question, or one greedy response where `key` is None.

    Args:
        questions: each is independent of the others: its randomness comes from `key`, its id and the index.
        n: responses per question.
        sampler: the policy's.
        template: turns prompts into token ids.
        scorer: rewards the responses' texts.
        max_new_tokens: the longest response.
        temperature: of the softmax.
        key: what the randomness is for (stage and seed).
        start: index of the first response; its randomness comes from the index, too.

    Returns:
        `n` rows per question, in order.
    """
    prompts = [template.encode(question.prompt) for question in questions]
    rows = [(question, index) for question in questions for index in range(start, start + n)]
    keys = [f"{key}/{question.prompt_id}/{index}" for question, index in rows]
    responses = sampler.generate(
        [token_ids for token_ids in prompts for _ in range(n)],
        None if key is None else keys,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
    )
    texts = [template.decode(response.token_ids) for response in responses]
    verdicts = scorer.score(
        [
            attempt_at(question, text, len(response.token_ids), max_new_tokens)
            for text, response, (question, _) in zip(texts, responses, rows, strict=True)
        ]
    )
    return [
        Scored(question, index, response, text, *verdict)
        for (question, index), response, text, verdict in zip(rows, responses, texts, verdicts, strict=True)
    ]
