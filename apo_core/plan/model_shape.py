"""Counts of a model's weights, from its configuration: nothing is loaded."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from apo_core.plan.items import BYTES, MIB


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """What decides a model's arithmetic, its memory and its traffic."""

    parameters: int  # tied ones once
    layer_weights: int  # of matrices that every token is multiplied by, without the head
    head_weights: int  # of the output embedding
    largest: int  # numbers in the largest parameter
    layers: int
    hidden: int
    attention: int  # attention heads times their size
    cached: int  # numbers in the key-value cache per token, of all layers
    vocabulary: int


def model_shape(config: PretrainedConfig, trust_remote_code: bool = False) -> ModelShape:
    """Count on the meta device. Of a mixture of experts all count, as if every token took all of them."""
    model = _without_data(config, trust_remote_code)
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    apart = {id(module.weight) for module in (head, embedding)}
    matrices = [each for each in model.parameters() if each.ndim >= 2 and id(each) not in apart]
    text = config.get_text_config()
    return ModelShape(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        layer_weights=sum(matrix.numel() for matrix in matrices),
        head_weights=head.weight.numel(),
        largest=max(parameter.numel() for parameter in model.parameters()),
        layers=int(text.num_hidden_layers),
        hidden=int(text.hidden_size),
        attention=int(text.num_attention_heads * _head_size(config)),
        cached=cache_bytes(config, "float32") // BYTES["float32"],
        vocabulary=int(text.vocab_size),
    )


def count_parameters(config: PretrainedConfig, trust_remote_code: bool = False) -> int:
    """Parameters of the model, tied ones once."""
    return sum(parameter.numel() for parameter in _without_data(config, trust_remote_code).parameters())


def weights_mib(config: PretrainedConfig, dtype: str, trust_remote_code: bool = False) -> float:
    """One copy of the model's weights."""
    return count_parameters(config, trust_remote_code) * BYTES[dtype] / MIB


def adapter_parameters(config: PretrainedConfig, rank: int, trust_remote_code: bool = False) -> int:
    """Parameters of adapters beside every linear layer except the output embedding."""
    model = _without_data(config, trust_remote_code)
    head = model.get_output_embeddings()
    return sum(
        rank * (module.in_features + module.out_features)
        for module in model.modules()
        if isinstance(module, nn.Linear) and module is not head
    )


def cache_bytes(config: PretrainedConfig, dtype: str) -> int:
    """Bytes of the key-value cache per token."""
    text = config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    return int(2 * text.num_hidden_layers * heads * _head_size(config) * BYTES[dtype])


def _head_size(config: PretrainedConfig) -> int:
    text = config.get_text_config()
    return int(getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads)


def _without_data(config: PretrainedConfig, trust_remote_code: bool) -> PreTrainedModel:
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
