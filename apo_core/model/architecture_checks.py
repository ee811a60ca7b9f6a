"""Refusals of architectures that cannot be sampled or trained here, from the configuration alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, DynamicCache, PretrainedConfig

from apo_core.errors import ApoError

_STRETCHED = {"linear", "dynamic", "ntk", "yarn"}  # scalings whose factor the largest position may leave out


def check_states(config: PretrainedConfig, model_class: type | None = None) -> None:
    """Refuse layers that keep a state over all tokens: convolutions, linear attention, state spaces.

    Responses end one by one, and the cache gives up their rows; transformers' caches select rows of keys and
    values only.

    Args:
        config: of the model.
        model_class: of the model; None looks up what transformers would load.

    Raises:
        ApoError: names the kind of model.
    """
    if model_class is None:
        model_class = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    if getattr(model_class, "_is_stateful", False) or not _selects_rows(config):
        raise ApoError(
            f"models of type {config.model_type} keep convolutional or recurrent states beside keys and "
            "values, which the sampler cannot carry on when responses end one by one; take a model of "
            "attention layers"
        )


def _selects_rows(config: PretrainedConfig) -> bool:
    """Whether the cache that the sampler makes gives up single rows in every layer."""
    try:
        layers = DynamicCache(config=config).layers
    except KeyError:  # a kind of layer that transformers has no cache for
        return False
    return all(hasattr(layer, "batch_select_indices") for layer in layers)


def check_context(config: PretrainedConfig, *, prompt_tokens: int, new_tokens: int) -> None:
    """Refuse sequences longer than the positions that the model was made for.

    Args:
        config: of the model.
        prompt_tokens: of the longest prompt, `template.max_prompt_tokens`.
        new_tokens: of the longest response, `generation.max_new_tokens`.

    Raises:
        ApoError: names the three numbers.
    """
    positions = max_positions(config)
    if positions is not None and prompt_tokens + new_tokens > positions:
        raise ApoError(
            f"template.max_prompt_tokens {prompt_tokens} and generation.max_new_tokens {new_tokens} are "
            f"together {prompt_tokens + new_tokens} tokens, the model has {positions} positions"
        )


def max_positions(config: PretrainedConfig) -> int | None:
    """The longest sequence of a model; None where its positions have no end (ALiBi, for one).

    A scaling of rotary positions may reach further than `max_position_embeddings` says: some checkpoints
    write there what the scaling starts from, some what it reaches. The larger one is taken.
    """
    text = config.get_text_config(decoder=True)
    if getattr(text, "alibi", False):
        return None
    named = (getattr(text, name, None) for name in ("max_position_embeddings", "max_seq_len", "n_positions"))
    lengths = [length for length in named if isinstance(length, int) and length > 0]
    if not lengths:
        return None
    scaled = [int(length) for length in _scaled_lengths(_rope_of(text), lengths[0])]
    return max([lengths[0], *scaled])


def _rope_of(text: PretrainedConfig) -> dict[str, Any]:
    # By kind of layer (Gemma 3) the factor belongs to positions that are given as what it reaches.
    rope = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None)
    return rope if isinstance(rope, dict) else {}


def _scaled_lengths(rope: dict[str, Any], length: int) -> Iterator[float]:
    factor, original = rope.get("factor"), rope.get("original_max_position_embeddings")
    if not isinstance(factor, int | float):
        return
    if isinstance(original, int):
        yield factor * original
    elif rope.get("rope_type", rope.get("type")) in _STRETCHED:
        yield factor * length
