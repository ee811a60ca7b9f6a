"""Decode one batch: every distinct prompt is read once, then all rows go on token by token."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from transformers import Cache, PreTrainedModel

from apo_core.model.acceleration import decoding_of
from apo_core.sampling.token_sampling import most_likely_token, sample_token


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
    """Decode one batch with a key-value cache; finished rows leave it.

    Args:
        model: in evaluation mode.
        prompts: B token id lists; equal ones share one forward pass.
        noise: (B, max_new_tokens) uniform numbers that decide every token, or None to decode greedily.
        max_new_tokens: the longest response.
        temperature: of the softmax.
        eos_ids: tokens that end a response, of which they are part.
        pad_id: fills prompts on the left.

    Returns:
        B token id lists, each of at least one token.

    Raises:
        PolicyCollapse: the model's logits are not finite.
    """
    device = model.device
    noise = None if noise is None else noise.to(device)
    ends = torch.tensor(sorted(eos_ids), device=device)
    rows = torch.arange(len(prompts), device=device)  # (b,) which prompt each live row belongs to
    outputs: list[list[int]] = [[] for _ in prompts]
    decoding = decoding_of(model)
    cache = decoding.new_cache(model.config)
    logits, attended = _read(model, prompts, cache, pad_id)  # (b, V), (b, P)
    with decoding.open_step(model, cache, len(prompts), partial(_last_logits, model)) as next_logits:
        positions = attended.sum(-1, keepdim=True)  # (b, 1) of the next token
        for step in range(max_new_tokens):
            if noise is None:
                tokens = most_likely_token(logits)  # (b,)
            else:
                tokens = sample_token(logits, noise[rows, step], temperature)  # (b,)
            for row, token in zip(rows.tolist(), tokens.tolist(), strict=True):
                outputs[row].append(token)
            alive = ~torch.isin(tokens, ends)  # (b,)
            if not alive.any() or step + 1 == max_new_tokens:
                break
            if not alive.all():
                kept = _compact_rows(alive)
                rows, tokens, attended, positions = rows[kept], tokens[kept], attended[kept], positions[kept]
                cache.batch_select_indices(kept)
            attended = torch.cat([attended, torch.ones_like(positions)], dim=-1)
            logits = next_logits(tokens[:, None], attended, positions, cache)
            positions = positions + 1
    return outputs


def _read(
    model: PreTrainedModel, prompts: list[list[int]], cache: Cache, pad_id: int
) -> tuple[Tensor, Tensor]:
    """Fill the cache with B prompts; (B, V) logits of their first new tokens, (B, P) attention mask."""
    distinct = list(dict.fromkeys(map(tuple, prompts)))
    token_ids, attended = _left_padded(distinct, pad_id, model.device)  # (D, P)
    positions = attended.cumsum(-1).sub(1).clamp(min=0)  # (D, P)
    logits = _last_logits(model, token_ids, attended, positions, cache)
    if len(distinct) == len(prompts):
        return logits, attended
    positions_of = {prompt: index for index, prompt in enumerate(distinct)}
    source = torch.tensor([positions_of[tuple(prompt)] for prompt in prompts], device=model.device)  # (B,)
    cache.batch_select_indices(source)
    return logits[source], attended[source]


def _last_logits(
    model: PreTrainedModel, token_ids: Tensor, attended: Tensor, positions: Tensor, cache: Cache
) -> Tensor:
    """(b, q) new tokens and positions, (b, t) mask of old and new, to (b, V) logits of the next token."""
    output = model(
        input_ids=token_ids,
        attention_mask=attended,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    last: Tensor = output.logits[:, -1]
    return last


def _left_padded(prompts: list[tuple[int, ...]], pad_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """B sequences to (B, P) token ids and (B, P) long attention mask."""
    width = max(map(len, prompts))
    ids = [[pad_id] * (width - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def _compact_rows(alive: Tensor) -> Tensor:
    """Positions of the live rows (b,), the last of them where finished rows were: few rows move."""
    count = int(alive.sum())
    kept = torch.arange(count, device=alive.device)
    kept[~alive[:count]] = alive[count:].nonzero()[:, 0] + count
    return kept
