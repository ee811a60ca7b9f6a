"""How far a policy is from its reference: log-ratios of its own responses, whose mean estimates the KL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import torch

from apo_core import config
from apo_core.model.directory import ModelRef
from apo_core.model.loading import load_policy
from apo_core.model.log_probs import ResponseLogProbs
from apo_core.model.micro_batch import micro_batches, pad_responses, sum_tokens
from tasks.prompts.prompt_template import load_prompt_template
from tasks.responses.jobs import Sample, Score

LOG_RATIOS = pa.schema(
    [("prompt_id", pa.string()), ("sample_index", pa.int32()), ("log_ratio", pa.float64())]
)


class Answered(NamedTuple):
    """A prompt with the responses that were sampled to it, in the order of their indices from 0 on."""

    prompt_id: str
    prompt: str
    responses: list[list[int]]


@dataclass(frozen=True, kw_only=True)
class LogRatioJob:
    """Compute the log-ratios of responses: rows of `LOG_RATIOS`. No engine is open beside its two models."""

    policy: ModelRef
    reference: ModelRef
    tokenizer: ModelRef
    template: config.Template
    temperature: float
    micro_batch_tokens: int

    @contextmanager
    def open(self, own_cores: int) -> Iterator[Sample[Answered]]:
        """See `tasks.responses.jobs.Job`."""
        prompt_template = load_prompt_template(self.tokenizer, self.template)
        policy, reference = (
            ResponseLogProbs(load_policy(model), temperature=self.temperature)
            for model in (self.policy, self.reference)
        )

        def compute(answered: list[Answered]) -> Score:
            rows = [
                (prompt, index, response)
                for prompt in answered
                for index, response in enumerate(prompt.responses)
            ]
            encoded = {prompt.prompt_id: prompt_template.encode(prompt.prompt) for prompt in answered}
            ratios = log_ratios(
                policy,
                reference,
                [encoded[prompt.prompt_id] for prompt, _, _ in rows],
                [response for _, _, response in rows],
                pad_id=prompt_template.tokenizer.pad_token_id,
                micro_batch_tokens=self.micro_batch_tokens,
            )
            table = pd.DataFrame(
                {
                    "prompt_id": [prompt.prompt_id for prompt, _, _ in rows],
                    "sample_index": [index for _, index, _ in rows],
                    "log_ratio": ratios,
                }
            )
            return lambda: table

        yield compute


@torch.no_grad()
def log_ratios(
    policy: ResponseLogProbs,
    reference: ResponseLogProbs,
    prompts: list[list[int]],
    responses: list[list[int]],
    *,
    pad_id: int,
    micro_batch_tokens: int,
) -> list[float]:
    """Ln pi(y|x) - ln pi_ref(y|x) of the policy's own samples; their mean estimates the KL.

    Args:
        policy: that sampled the responses.
        reference: on the same device.
        prompts: B token id lists.
        responses: B token id lists, end-of-sequence tokens included.
        pad_id: fills micro-batches on the right.
        micro_batch_tokens: tokens per forward pass, padding included.

    Returns:
        B numbers, in nats per response.
    """
    lengths = [len(prompt) + len(response) for prompt, response in zip(prompts, responses, strict=True)]
    ratios = [0.0] * len(prompts)
    for rows in micro_batches(lengths, max_tokens=micro_batch_tokens):
        batch = pad_responses(
            [prompts[row] for row in rows], [responses[row] for row in rows], pad_id, policy.model.device
        )
        of_policy, of_reference = (
            sum_tokens(log_probs(*batch.inputs), batch.mask) for log_probs in (policy, reference)
        )  # (R,)
        for row, ratio in zip(rows, (of_policy - of_reference).tolist(), strict=True):
            ratios[row] = ratio
    return ratios
