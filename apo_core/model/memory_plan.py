"""How much memory stage 2 needs, from a model's configuration alone: no weight is loaded.

Weights, gradients, optimizer and key-value cache are counted; what autograd keeps for the backward pass is
observed on tensors that have shapes and no data, on the very modules that train.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoModelForCausalLM, PretrainedConfig

from apo_core.model.head import CHUNK_TOKENS

Phase = Literal["always", "rollout", "update", "disk"]
_MIB = 2**20
_BYTES = {"float32": 4, "bfloat16": 2}
_ADAM = 8  # two float32 moments a parameter
_PROCESS_MIB = 700.0  # Python with torch, transformers and DeepSpeed loaded, before any weight
_HEAD_COPIES = 3  # float32 logits of a chunk, scaled, and their gradient


class Item(NamedTuple):
    """One thing that takes room, and when."""

    name: str
    mib: float
    phase: Phase


def plan_training(
    config: PretrainedConfig,
    *,
    dtype: str,
    prompt_tokens: int,
    new_tokens: int,
    rollout_rows: int,
    batch_rows: int,
    micro_batch_tokens: int,
    gradient_checkpointing: bool,
    ranks: int,
    zero_stage: int,
    offload: str,
    kept_checkpoints: int,
    reference_dtype: str | None,
    critic: bool = False,
    lagging: bool = False,
    responses_per_loss: int = 1,
    lora_rank: int | None = None,
    packed: bool = False,
    engine_mib: float = 0.0,
    trust_remote_code: bool = False,
) -> list[Item]:
    """What one rank holds during stage 2.

    Args:
        config: of the model; policy and reference share it.
        dtype: to compute in; bfloat16 keeps float32 master weights.
        prompt_tokens: the longest prompt.
        new_tokens: the longest response.
        rollout_rows: responses that the policy itself decodes at once.
        batch_rows: responses an update, on one rank.
        micro_batch_tokens: of a forward and backward pass.
        gradient_checkpointing: layers are computed again in the backward pass.
        ranks: that share what `zero_stage` says.
        zero_stage: DeepSpeed's.
        offload: what is in the host's memory and not counted: "none", "optimizer" or "all".
        kept_checkpoints: on the disk at once, the one being written included.
        reference_dtype: of the reference beside the policy; None where there is none.
        critic: a second model learns beside the policy, and is as large.
        lagging: what is held against is a copy of the policy, in its precision and in every checkpoint.
        responses_per_loss: responses that a micro-batch cannot part.
        lora_rank: of the adapters, or None to train all weights.
        packed: the policy decodes with packed copies of its weights (`apo_core.kernels.linear`).
        engine_mib: of an engine beside the policy that draws its responses.
        trust_remote_code: run the Python that comes with the model to see its shapes.
    """
    parameters = count_parameters(config, trust_remote_code)
    size, text = _BYTES[dtype], config.get_text_config()
    masters = 0 if dtype == "float32" else 4
    row_tokens = prompt_tokens + new_tokens
    gradients = size if dtype == "float32" or zero_stage else size + 4  # else accumulated in float32 too
    shared = zero_stage >= 1 or dtype != "float32"  # DeepSpeed spreads float32 masters in any case
    trained = parameters if lora_rank is None else adapter_parameters(config, lora_rank, trust_remote_code)
    # Of a policy that trains adapters alone, the reference is what they are beside.
    held = _BYTES[reference_dtype] if reference_dtype is not None and lora_rank is None else 0
    if lagging:
        held = size
    models = 2 if critic else 1
    trained *= models
    optimizer = 0.0 if offload != "none" else trained / (ranks if shared else 1)
    weights = 0.0 if offload == "all" else parameters * size / (ranks if zero_stage == 3 else 1)
    fitting = micro_batch_tokens // (responses_per_loss * row_tokens) * responses_per_loss
    rows = max(responses_per_loss, min(fitting, batch_rows))
    # Its gradient in float32, then as the weights are; if tied also the input embedding's, and their sum,
    # unless they are one (`apo_core.kernels.tied_embedding`).
    one = packed and dtype == "float32"
    head_copies = 4 + size + (2 * size if config.tie_word_embeddings and not one else 0)
    head = text.vocab_size * text.hidden_size * head_copies if lora_rank is None else 0
    chunk = min(CHUNK_TOKENS, rows * new_tokens)
    activations = activation_bytes(
        config,
        rows=rows,
        tokens=row_tokens,
        dtype=dtype,
        gradient_checkpointing=gradient_checkpointing,
        trust_remote_code=trust_remote_code,
    )
    saved = trained * (size + masters + _ADAM) + (parameters * size if lagging else 0)
    return [
        Item("process", _PROCESS_MIB, "always"),
        Item("policy and critic" if critic else "policy", models * weights / _MIB, "always"),
        Item("lagging copy" if lagging else "reference", held * parameters / _MIB, "always"),
        Item("master weights", optimizer * masters / _MIB, "always"),
        Item("optimizer", optimizer * _ADAM / _MIB, "always"),
        Item("gradients", trained * gradients / (ranks if zero_stage >= 2 else 1) / _MIB, "always"),
        Item("rollout engine", engine_mib, "always"),
        Item("gathered weights", (parameters * size - weights) / _MIB, "rollout"),
        Item("packed weights", packed * parameters * size / _MIB, "rollout"),
        Item("key-value cache", rollout_rows * row_tokens * cache_bytes(config, dtype) / _MIB, "rollout"),
        Item("logits of a token", rollout_rows * text.vocab_size * (size + 8) / _MIB, "rollout"),
        Item("activations", models * activations / _MIB, "update"),
        Item("gradient of the head", head / _MIB, "update"),
        Item("logits of a chunk", chunk * text.vocab_size * 4 * _HEAD_COPIES / _MIB, "update"),
        Item("checkpoints", kept_checkpoints * saved / _MIB, "disk"),
    ]


def peak_mib(items: list[Item]) -> float:
    """The most that is in memory at once: what always is, with the larger of rollout and update."""
    always, rollout, update = (
        sum(item.mib for item in items if item.phase == phase) for phase in ("always", "rollout", "update")
    )
    return always + max(rollout, update)


def count_parameters(config: PretrainedConfig, trust_remote_code: bool = False) -> int:
    """Parameters of the model, tied ones once."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    return sum(parameter.numel() for parameter in model.parameters())


def weights_mib(config: PretrainedConfig, dtype: str, trust_remote_code: bool = False) -> float:
    """One copy of the model's weights."""
    return count_parameters(config, trust_remote_code) * _BYTES[dtype] / _MIB


def adapter_parameters(config: PretrainedConfig, rank: int, trust_remote_code: bool = False) -> int:
    """Parameters of adapters beside every linear layer but the output embedding."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    head = model.get_output_embeddings()
    return sum(
        rank * (module.in_features + module.out_features)
        for module in model.modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    )


def cache_bytes(config: PretrainedConfig, dtype: str) -> int:
    """Bytes of the key-value cache a token."""
    text = config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    head_size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return int(2 * text.num_hidden_layers * heads * head_size * _BYTES[dtype])


def activation_bytes(
    config: PretrainedConfig,
    *,
    rows: int,
    tokens: int,
    dtype: str,
    gradient_checkpointing: bool,
    trust_remote_code: bool = False,
) -> int:
    """Bytes that autograd keeps for the backward pass of a (rows, tokens) batch.

    Layers are alike: one and two of them are observed, and the rest follows. With gradient checkpointing
    one layer at a time is whole, the others are their inputs.
    """
    kept = partial(_kept_bytes, config, rows, tokens, dtype, trust_remote_code)
    one, two = (kept(count, again=False) for count in (1, 2))
    layer = two - one
    others = int(config.get_text_config().num_hidden_layers) - 1
    if not gradient_checkpointing:
        return one + others * layer
    first, second = (kept(count, again=True) for count in (1, 2))
    return first + others * (second - first) + layer


def _with_layers(config: PretrainedConfig, layers: int) -> PretrainedConfig:
    config = copy.deepcopy(config)
    text = config.get_text_config()
    text.num_hidden_layers = layers
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:layers]
    return config


def _kept_bytes(
    config: PretrainedConfig,
    rows: int,
    tokens: int,
    dtype: str,
    trust_remote_code: bool,
    layers: int,
    *,
    again: bool,
) -> int:
    kept: dict[int, Tensor] = {}
    # Shapes on the CPU's own kernels: on the meta device attention would keep its (T, T) matrix.
    with FakeTensorMode():
        model = AutoModelForCausalLM.from_config(
            _with_layers(config, layers),
            dtype=getattr(torch, dtype),
            trust_remote_code=trust_remote_code,
        )
        model.train()
        if again:
            model.gradient_checkpointing_enable()
        weights = {parameter.untyped_storage()._cdata for parameter in model.parameters()}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()._cdata
            if storage not in weights:
                kept[storage] = tensor
            return tensor

        batch = torch.ones((rows, tokens), dtype=torch.long)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model.base_model(input_ids=batch, attention_mask=batch, use_cache=False)
        return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
