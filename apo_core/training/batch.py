"""The responses of a step: drawn and scored."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from apo_core.sampling import Response
from apo_core.training.context import Stage2
from apo_core.verifiers import Attempt


@dataclass
class Row:
    """One response of the batch; `parts` of its loss are known after the update."""

    prompt_id: str
    prompt: list[int]
    response: Response
    reward: float | None  # None where the verifier failed
    reason: str
    value: float
    parts: dict[str, float] = field(default_factory=dict)


def draw(stage: Stage2, step: int, own: list[tuple[int, int]]) -> list[Response]:
    """The algorithm's number of responses to each prompt, one prompt's after another.

    Args:
        stage: the parts.
        step: counted from 0.
        own: position in the batch and index in the training set, of this rank's prompts.
    """
    prompts, responses = stage.prompts, stage.algorithm.responses
    # The position is in the key because a batch may hold a prompt twice (batch larger than the set).
    names = [f"train/{stage.seed}/{step}/{position}/{prompts.prompt_ids[index]}" for position, index in own]
    return stage.sampler.generate(
        [prompts.token_ids[index] for _, index in own for _ in range(responses)],
        [f"{name}/{number}" if number else name for name in names for number in range(responses)],
        max_new_tokens=stage.max_new_tokens,
        temperature=stage.temperature,
    )


def score(stage: Stage2, indices: list[int], responses: list[Response]) -> list[Row]:
    """Rows of the responses.

    Args:
        stage: the parts.
        indices: in the training set, one a response.
        responses: to the prompts there.
    """
    prompts = stage.prompts
    texts = [stage.template.decode(response.token_ids) for response in responses]
    verdicts = stage.scorer.score(
        [
            Attempt(text, prompts.answers[index], prompts.rows[index])
            for text, index in zip(texts, indices, strict=True)
        ]
    )
    return [
        Row(
            prompts.prompt_ids[index],
            prompts.token_ids[index],
            response,
            verdict.reward,
            verdict.reason,
            prompts.values[index],
        )
        for index, response, verdict in zip(indices, responses, verdicts, strict=True)
    ]


def rewards_of(rows: list[Row], responses: int) -> Tensor:
    """(P, G) float32 of P prompts with G responses each, NaN where the verifier failed."""
    rewards = [math.nan if row.reward is None else row.reward for row in rows]
    return torch.tensor(rewards).view(-1, responses)


def mask_of(rows: list[Row]) -> Tensor:
    """(R, L) bool, True where a response has a token, all from the left."""
    lengths = torch.tensor([len(row.response.token_ids) for row in rows])  # (R,)
    return torch.arange(int(lengths.max())) < lengths[:, None]
