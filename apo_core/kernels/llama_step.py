"""One decoding step of Llama-like models on CPU: merged, packed products and few calls around them.

With few rows, the time of a step is the time to read its weights plus the calls around them, of which
transformers makes about a hundred per layer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import silu
from transformers import Cache, PreTrainedModel

from apo_core.kernels.attention import attend_one_query
from apo_core.kernels.kv_cache import GrowingLayer
from apo_core.kernels.linear import can_pack, is_linear, merged_product

_LAYERS = {
    "transformers.models.llama.modeling_llama.LlamaDecoderLayer",
    "transformers.models.qwen2.modeling_qwen2.Qwen2DecoderLayer",
}


class _Layer(NamedTuple):
    """A layer's arithmetic: functions of (b, 1, ...) states."""

    key_heads: int
    scaling: float  # of the attention's scores
    norm: Callable[[Tensor], Tensor]
    query_key_value: Callable[[Tensor], Tensor]
    output: Callable[[Tensor], Tensor]
    mlp_norm: Callable[[Tensor], Tensor]
    gate_up: Callable[[Tensor], Tensor]
    down: Callable[[Tensor], Tensor]


class LlamaStep:
    """Logits of the next token; the copies of the weights it works with are those of when it was made."""

    def __init__(self, model: PreTrainedModel, rows: int) -> None:
        """Merge and pack the weights of a model that `supports` accepts, for about so many rows."""
        decoder = model.base_model
        self.embed = model.get_input_embeddings()
        self.rotate = decoder.rotary_emb
        self.size = decoder.layers[0].self_attn.head_dim
        self.layers = [_merged(layer, rows) for layer in decoder.layers]
        self.norm = decoder.norm
        self.head = merged_product([model.get_output_embeddings()], rows)

    def __call__(self, token_ids: Tensor, attended: Tensor | None, positions: Tensor, cache: Cache) -> Tensor:
        """(b, 1) new tokens and positions, (b, t) mask of old and new, to (b, V); the cache grows by one."""
        mask = None if attended is None else attended[:, None, None].bool()  # (b, 1, 1, t)
        hidden = self.embed(token_ids)  # (b, 1, H)
        cosine, sine = self.rotate(hidden, positions)  # (b, 1, d)
        # To rotate, halves change places, and the first of them its sign: that is in the sine.
        first, second = sine.chunk(2, dim=-1)
        sine = torch.cat([-first, second], dim=-1)
        for index, layer in enumerate(self.layers):
            query, key, value = self._heads(layer, hidden, cosine, sine)
            keys, values = cache.update(key, value, index)
            hidden = hidden + layer.output(
                attend_one_query(query, keys, values, mask, layer.scaling).flatten(2)
            )
            gate, up = layer.gate_up(layer.mlp_norm(hidden)).chunk(2, dim=-1)
            hidden = hidden + layer.down(silu(gate).mul_(up))
        logits: Tensor = self.head(self.norm(hidden))[:, 0]
        return logits

    def _heads(
        self, layer: _Layer, hidden: Tensor, cosine: Tensor, sine: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(b, 1, H) to (b, heads, 1, d) queries and (b, key heads, 1, d) keys and values, with positions."""
        states = layer.query_key_value(layer.norm(hidden)).unflatten(-1, (-1, self.size)).transpose(1, 2)
        query_key, value = states[:, : -layer.key_heads], states[:, -layer.key_heads :]
        turned = query_key.roll(self.size // 2, dims=-1)
        query_key = (query_key * cosine[:, None]).addcmul_(turned, sine[:, None])
        return query_key[:, : -layer.key_heads], query_key[:, -layer.key_heads :], value


def supports(model: PreTrainedModel, cache: Cache) -> bool:
    """Whether a model's steps are the arithmetic above, and are worth it: on CPU, all plain Llama layers."""
    decoder = model.base_model
    layers = getattr(decoder, "layers", None)
    return (
        can_pack(model.dtype, model.device.type)  # merged copies that are not packed would gain little
        and layers is not None
        and all(f"{type(layer).__module__}.{type(layer).__qualname__}" in _LAYERS for layer in layers)
        and model.config.hidden_act == "silu"
        and all(type(kept) is GrowingLayer for kept in cache.layers)
        and all(is_linear(part) for layer in layers for part in _products(layer))
        and is_linear(model.get_output_embeddings())
    )


def _merged(layer: Any, rows: int) -> _Layer:
    query, key, value, output, gate, up, down = _products(layer)
    return _Layer(
        key_heads=key.out_features // layer.self_attn.head_dim,
        scaling=layer.self_attn.scaling,
        norm=layer.input_layernorm,
        query_key_value=merged_product([query, key, value], rows),
        output=merged_product([output], rows),
        mlp_norm=layer.post_attention_layernorm,
        gate_up=merged_product([gate, up], rows),
        down=merged_product([down], rows),
    )


def _products(layer: Any) -> list[nn.Linear]:
    """In the order that they are used in."""
    attention, mlp = layer.self_attn, layer.mlp
    return [
        *(attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj),
        *(mlp.gate_proj, mlp.up_proj, mlp.down_proj),
    ]
