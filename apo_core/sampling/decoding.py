"""Decode one batch: every distinct prompt is read once, then all rows go on token by token."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from transformers import Cache, PreTrainedModel

from apo_core.errors import PolicyCollapse
from apo_core.model.acceleration import decoding_of
from apo_core.sampling.token_sampling import NO_TOKEN, most_likely_token, sample_token


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
    rows = list(range(len(prompts)))  # which prompt each of the b live rows belongs to
    live = torch.arange(len(prompts), device=device)  # (b,) the same where the model is
    outputs: list[list[int]] = [[] for _ in prompts]
    width = max(map(len, prompts))
    decoding = decoding_of(model)
    cache = decoding.new_cache(model.config, width + max_new_tokens)
    logits, attended = _read(model, prompts, cache, pad_id)  # (b, V), (b, P)
    with decoding.open_step(model, cache, len(prompts), partial(_last_logits, model)) as next_logits:
        positions = torch.tensor(
            [[len(prompt)] for prompt in prompts], device=device
        )  # (b, 1) of the next token
        for step in range(max_new_tokens):
            if noise is None:
                tokens = most_likely_token(logits)  # (b,)
            else:
                tokens = sample_token(logits, noise[live, step], temperature)  # (b,)
            alive = _append(tokens, rows, outputs, eos_ids)
            if not any(alive) or step + 1 == max_new_tokens:
                break
            if not all(alive):
                kept = _compact_rows(alive)
                rows = [rows[row] for row in kept]
                cache.batch_select_indices(torch.tensor(kept))
                moved = torch.tensor(kept, device=device)
                live, tokens, positions = live[moved], tokens[moved], positions[moved]
                is_padded = any(len(prompts[row]) < width for row in rows)
                attended = attended[moved] if attended is not None and is_padded else None
            if attended is not None:
                attended = torch.cat([attended, torch.ones_like(positions)], dim=-1)
            logits = next_logits(tokens[:, None], attended, positions, cache)
            positions = positions + 1
    return outputs


def _append(tokens: Tensor, rows: list[int], outputs: list[list[int]], eos_ids: set[int]) -> list[bool]:
    """Append (b,) tokens to the outputs of their rows; which rows go on.

    The only place that waits for a GPU, once per token: all that is decided by tokens is decided here, on the
    host.
    """
    chosen = tokens.tolist()
    if NO_TOKEN in chosen:
        raise PolicyCollapse("the policy's logits are not finite; no token can be sampled from them")
    for row, token in zip(rows, chosen, strict=True):
        outputs[row].append(token)
    return [token not in eos_ids for token in chosen]


def _read(
    model: PreTrainedModel, prompts: list[list[int]], cache: Cache, pad_id: int
) -> tuple[Tensor, Tensor | None]:
    """Fill the cache with B prompts; (B, V) logits of their first new tokens, (B, P) attention mask.

    The mask is None where the prompts are of one length: the model need not look for padding in it then.
    """
    distinct = list(dict.fromkeys(map(tuple, prompts)))
    token_ids, mask = _left_padded(distinct, pad_id, model.device)  # (D, P)
    positions = mask.cumsum(-1).sub(1).clamp(min=0)  # (D, P)
    attended = mask if len({len(prompt) for prompt in distinct}) > 1 else None
    logits = _last_logits(model, token_ids, attended, positions, cache)
    if len(distinct) == len(prompts):
        return logits, attended
    positions_of = {prompt: index for index, prompt in enumerate(distinct)}
    source = torch.tensor([positions_of[tuple(prompt)] for prompt in prompts])  # (B,)
    cache.batch_select_indices(source)
    source = source.to(model.device)
    return logits[source], None if attended is None else attended[source]


def _last_logits(
    model: PreTrainedModel, token_ids: Tensor, attended: Tensor | None, positions: Tensor, cache: Cache
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


def _compact_rows(alive: list[bool]) -> list[int]:
    """Positions of the live rows, the last of them where finished rows were: few rows move."""
    count = sum(alive)
    last = (row for row in range(count, len(alive)) if alive[row])
    return [row if alive[row] else next(last) for row in range(count)]
