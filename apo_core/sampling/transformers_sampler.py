"""The default engine: a transformers model, sampled in place, so training needs no weight transfer."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from apo_core.sampling.base import Response, uniforms
from apo_core.sampling.decoding import decode


class TransformersSampler:
    """A sampler that decodes batches of similar prompt length; finished rows leave the batch."""

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        eos_ids: set[int],
        pad_id: int,
        batch_size: int,
    ) -> None:
        self.model = model
        self.eos_ids = eos_ids
        self.pad_id = pad_id
        self.batch_size = batch_size

    def generate(
        self, prompts: list[list[int]], keys: list[str] | None, *, max_new_tokens: int, temperature: float
    ) -> list[Response]:
        """See `Sampler`."""
        # Similar lengths together, little padding. sorted() is stable: the batches are reproducible, and
        # equal prompts that come one after another stay so and are read once.
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        responses: dict[int, Response] = {}
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            noise = torch.from_numpy(uniforms([keys[i] for i in batch], max_new_tokens)) if keys else None
            decoded = decode(
                self.model,
                [prompts[i] for i in batch],
                noise,
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                eos_ids=self.eos_ids,
                pad_id=self.pad_id,
            )
            responses.update(zip(batch, map(self._response, decoded), strict=True))
        return [responses[index] for index in range(len(prompts))]

    def _response(self, token_ids: list[int]) -> Response:
        return Response(token_ids, "stop" if token_ids[-1] in self.eos_ids else "length")
