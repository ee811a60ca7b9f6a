"""The default engine: a transformers model, sampled in place, so stage 2 needs no weight transfer."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from apo_core.progress import progress
from apo_core.sampling.base import Response, uniforms


class TransformersSampler:
    """Decodes batches of similar prompt length; finished rows leave the batch."""

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        eos_ids: set[int],
        pad_id: int,
        batch_size: int,
        description: str | None = None,
    ) -> None:
        self.model = model
        self.eos_ids = eos_ids
        self.pad_id = pad_id
        self.batch_size = batch_size
        self.description = description

    def generate(
        self, prompts: list[list[int]], keys: list[str] | None, *, max_new_tokens: int, temperature: float
    ) -> list[Response]:
        """See `Sampler`."""
        # Similar lengths together, little padding; sorted() is stable, so the batches are reproducible.
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        responses: dict[int, Response] = {}
        with progress(total=len(prompts), description=self.description, unit="response") as bar:
            for start in range(0, len(order), self.batch_size):
                batch = order[start : start + self.batch_size]
                noise = keys and torch.from_numpy(uniforms([keys[i] for i in batch], max_new_tokens))
                decoded = decode(
                    self.model,
                    [prompts[i] for i in batch],
                    noise if keys else None,
                    max_new_tokens=max_new_tokens,
                    temperature=temperature,
                    eos_ids=self.eos_ids,
                    pad_id=self.pad_id,
                )
                responses.update(zip(batch, map(self._response, decoded), strict=True))
                bar.update(len(batch))
        return [responses[index] for index in range(len(prompts))]

    def _response(self, token_ids: list[int]) -> Response:
        return Response(token_ids, "stop" if token_ids[-1] in self.eos_ids else "length")


@torch.no_grad()
def decode(
    model: PreTrainedModel,
    prompts: list[list[int]],
    noise: Tensor | None,
    *,
    max_new_tokens: int,
    temperature: float,
    eos_ids: set[int],
    pad_id: int,
) -> list[list[int]]:
    """Decode one batch token by token with a key-value cache.

    Args:
        model: in evaluation mode.
        prompts: B token id lists.
        noise: (B, max_new_tokens) uniform numbers that decide every draw, or None to decode greedily.
        max_new_tokens: cut after so many.
        temperature: of the softmax.
        eos_ids: tokens that end a response; the one drawn is kept.
        pad_id: fills prompts on the left.

    Returns:
        B token id lists, each of at least one token.
    """
    device = model.device
    token_ids, attended = _left_padded(prompts, pad_id, device)  # (B, P)
    noise = None if noise is None else noise.to(device)
    ends = torch.tensor(sorted(eos_ids), device=device)
    rows = torch.arange(len(prompts), device=device)  # (b,) which prompt each live row belongs to
    outputs: list[list[int]] = [[] for _ in prompts]
    cache = DynamicCache(config=model.config)
    positions = attended.cumsum(-1).sub(1).clamp(min=0)  # (B, P)
    for step in range(max_new_tokens):
        logits = model(
            input_ids=token_ids,
            attention_mask=attended,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]  # (b, V)
        drawn = _draw(logits, None if noise is None else noise[rows, step], temperature)  # (b,)
        for row, token in zip(rows.tolist(), drawn.tolist(), strict=True):
            outputs[row].append(token)
        alive = ~torch.isin(drawn, ends)  # (b,)
        if not alive.any():
            break
        if not alive.all():
            kept = alive.nonzero()[:, 0]
            rows, drawn, attended, positions = rows[kept], drawn[kept], attended[kept], positions[kept]
            cache.batch_select_indices(kept)
        token_ids = drawn[:, None]
        attended = torch.cat([attended, torch.ones_like(token_ids)], dim=-1)
        positions = positions[:, -1:] + 1
    return outputs


def _left_padded(prompts: list[list[int]], pad_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """B lists to (B, P) token ids and (B, P) long attention mask."""
    width = max(map(len, prompts))
    ids = [[pad_id] * (width - len(prompt)) + prompt for prompt in prompts]
    mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def _draw(logits: Tensor, noise: Tensor | None, temperature: float) -> Tensor:
    """Invert the cumulative distribution at `noise` (b,), or take the likeliest token; (b, V) -> (b,)."""
    if noise is None:
        return logits.argmax(dim=-1)
    # float64: over a vocabulary of 150k a float32 sum loses the tail.
    cumulative = (logits.double() / temperature).softmax(dim=-1).cumsum(dim=-1)  # (b, V)
    point = noise[:, None] * cumulative[:, -1:]  # the last entry is 1 but for rounding
    return torch.searchsorted(cumulative, point, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)
