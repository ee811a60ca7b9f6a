"""The default engine: a transformers model, sampled in place, so training needs no weight transfer."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel

from apo_core.sampling.base import Keys, Response, uniforms
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
        self, prompts: list[list[int]], keys: Keys, *, max_new_tokens: int, temperature: float
    ) -> list[Response]:
        """See `Sampler`. Greedy rows and sampled ones are in batches of their own."""
        keys = [None] * len(prompts) if keys is None else keys
        greedy = [row for row, key in enumerate(keys) if key is None]
        sampled = [row for row, key in enumerate(keys) if key is not None]
        responses: dict[int, Response] = {}
        for rows in (greedy, sampled):
            # Similar lengths together, little padding. sorted() is stable: the batches are reproducible, and
            # equal prompts that come one after another stay so and are read once.
            order = sorted(rows, key=lambda row: len(prompts[row]))
            for start in range(0, len(order), self.batch_size):
                batch = order[start : start + self.batch_size]
                decoded = decode(
                    self.model,
                    [prompts[row] for row in batch],
                    _noise([keys[row] for row in batch], max_new_tokens),
                    max_new_tokens=max_new_tokens,
                    temperature=temperature,
                    eos_ids=self.eos_ids,
                    pad_id=self.pad_id,
                )
                responses.update(zip(batch, map(self._response, decoded), strict=True))
        return [responses[row] for row in range(len(prompts))]

    def _response(self, token_ids: list[int]) -> Response:
        return Response(token_ids, "stop" if token_ids[-1] in self.eos_ids else "length")


def _noise(keys: list[str | None], count: int) -> Tensor | None:
    """(B, count) uniform numbers of rows that all have a key; None where none has."""
    texts = [key for key in keys if key is not None]
    return torch.from_numpy(uniforms(texts, count)) if texts else None
