"""Memory plan of training, from a model's configuration only: no weight is loaded.

Weights, gradients, optimizer and key-value cache are counted; what autograd keeps for the backward pass is
observed on tensors that have shapes and no data, on the very modules that train.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoModelForCausalLM, PretrainedConfig

from apo_core.model.head import chunk_tokens_on

Phase = Literal["always", "rollout", "update", "disk"]
_MIB = 2**20
_BYTES = {"float32": 4, "bfloat16": 2}
_ADAM = 8  # two float32 moments per parameter
_PROCESS_MIB = 700.0  # Python with torch, transformers and DeepSpeed loaded, before any weight
_HEAD_COPIES = 3  # float32 logits of a chunk, scaled, and their gradient


class Item(NamedTuple):
    """A consumer of memory, and when it needs the memory."""

    name: str
    mib: float
    phase: Phase


@dataclass(frozen=True, kw_only=True)
class TrainingShape:
    """The dimensions of a training that decide how much memory it takes."""

    config: PretrainedConfig  # of the model; policy and reference policy share it
    dtype: str  # to compute in; bfloat16 keeps float32 master weights
    prompt_tokens: int  # the longest prompt
    new_tokens: int  # the longest response
    rollout_rows: int  # responses that the policy itself decodes at once
    batch_rows: int  # responses per update, on one rank
    micro_batch_tokens: int  # of a forward and backward pass
    gradient_checkpointing: bool  # layers are computed again in the backward pass
    ranks: int  # that share what `zero_stage` says
    zero_stage: int  # DeepSpeed's
    offload: str  # what is in the host's memory and not counted: "none", "optimizer" or "all"
    kept_checkpoints: int  # on the disk at once, the one being written included
    reference_dtype: str | None  # of the reference policy; None where there is none
    critic: bool = False  # a second model learns beside the policy, and is as large
    lagging: bool = False  # a copy of the policy, in its precision, takes the reference's place
    responses_per_loss: int = 1  # responses that a micro-batch cannot part
    lora_rank: int | None = None  # None trains all weights
    packed: bool = False  # the policy decodes with packed copies of its weights (`apo_core.kernels.linear`)
    engine_mib: float = 0.0  # of an engine beside the policy that samples
    trust_remote_code: bool = False  # run the Python that comes with the model to see its shapes
    device: str = "cpu"  # what trains: "cpu" or "cuda"

    @property
    def bytes(self) -> int:
        """Bytes per weight of the policy."""
        return _BYTES[self.dtype]

    @property
    def master_bytes(self) -> int:
        """Per trained weight, beside `bytes`."""
        return 0 if self.dtype == "float32" else 4

    @property
    def row_tokens(self) -> int:
        """Tokens of the longest prompt with its response."""
        return self.prompt_tokens + self.new_tokens


def plan_training(shape: TrainingShape) -> list[Item]:
    """List what takes memory on one rank during training, and disk space for its checkpoints."""
    parameters = count_parameters(shape.config, shape.trust_remote_code)
    trained = parameters
    if shape.lora_rank is not None:
        trained = adapter_parameters(shape.config, shape.lora_rank, shape.trust_remote_code)
    if shape.critic:
        trained *= 2
    weights = 0.0 if shape.offload == "all" else parameters * shape.bytes
    weights /= shape.ranks if shape.zero_stage == 3 else 1
    per_checkpoint = trained * (shape.bytes + shape.master_bytes + _ADAM)
    if shape.lagging:
        per_checkpoint += parameters * shape.bytes
    return [
        Item("process", _PROCESS_MIB, "always"),
        *_held_always(shape, parameters, trained, weights),
        *_held_in_rollout(shape, parameters, weights),
        *_held_in_update(shape),
        Item("checkpoints", shape.kept_checkpoints * per_checkpoint / _MIB, "disk"),
    ]


def _held_always(shape: TrainingShape, parameters: int, trained: int, weights: float) -> list[Item]:
    """Weights, optimizer and gradients."""
    reference = 0
    if shape.lagging:
        reference = shape.bytes
    elif shape.reference_dtype is not None and shape.lora_rank is None:  # else it is the policy's own weights
        reference = _BYTES[shape.reference_dtype]
    # Summed in float32 in either precision; see `_precision` in apo_core/training/engine.py.
    gradients = trained * 4 / (shape.ranks if shape.zero_stage >= 2 else 1)
    shared = shape.zero_stage >= 1 or shape.dtype != "float32"  # in bfloat16 stage 0 shares as stage 1 does
    optimizer = 0.0 if shape.offload != "none" else trained / (shape.ranks if shared else 1)
    policy_name = "policy and critic" if shape.critic else "policy"
    return [
        Item(policy_name, (2 if shape.critic else 1) * weights / _MIB, "always"),
        Item("lagging copy" if shape.lagging else "reference", reference * parameters / _MIB, "always"),
        Item("master weights", optimizer * shape.master_bytes / _MIB, "always"),
        Item("optimizer", optimizer * _ADAM / _MIB, "always"),
        Item("gradients", gradients / _MIB, "always"),
        Item("rollout engine", shape.engine_mib, "always"),
    ]


def _held_in_rollout(shape: TrainingShape, parameters: int, weights: float) -> list[Item]:
    """What sampling takes beside the weights that are there."""
    rows, vocabulary = shape.rollout_rows, shape.config.get_text_config().vocab_size
    cache = rows * shape.row_tokens * cache_bytes(shape.config, shape.dtype)
    return [
        Item("gathered weights", (parameters * shape.bytes - weights) / _MIB, "rollout"),
        Item("packed weights", shape.packed * parameters * shape.bytes / _MIB, "rollout"),
        Item("key-value cache", cache / _MIB, "rollout"),
        Item("logits of a token", rows * vocabulary * (shape.bytes + 8) / _MIB, "rollout"),
    ]


def _held_in_update(shape: TrainingShape) -> list[Item]:
    """What the forward and backward pass of the largest micro-batch takes."""
    text, together = shape.config.get_text_config(), shape.responses_per_loss
    fitting = shape.micro_batch_tokens // (together * shape.row_tokens) * together
    rows = max(together, min(fitting, shape.batch_rows))
    activations = activation_bytes(
        shape.config,
        rows=rows,
        tokens=shape.row_tokens,
        dtype=shape.dtype,
        gradient_checkpointing=shape.gradient_checkpointing,
        trust_remote_code=shape.trust_remote_code,
    )
    # The head's gradient in float32, then as the weights are; if tied also the input embedding's, and their
    # sum, unless they are one tensor (`apo_core.kernels.tied_embedding`).
    shared = shape.packed and shape.dtype == "float32"
    copies = 4 + shape.bytes + (2 * shape.bytes if shape.config.tie_word_embeddings and not shared else 0)
    head = text.vocab_size * text.hidden_size * copies if shape.lora_rank is None else 0
    chunk = min(chunk_tokens_on(shape.device), rows * shape.new_tokens)
    return [
        Item("activations", (2 if shape.critic else 1) * activations / _MIB, "update"),
        Item("gradient of the head", head / _MIB, "update"),
        Item("logits of a chunk", chunk * text.vocab_size * 4 * _HEAD_COPIES / _MIB, "update"),
    ]


def peak_mib(items: list[Item]) -> float:
    """Compute the peak memory: what is always held, plus the larger of rollout and update."""
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
    """Parameters of adapters beside every linear layer except the output embedding."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    head = model.get_output_embeddings()
    return sum(
        rank * (module.in_features + module.out_features)
        for module in model.modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    )


def cache_bytes(config: PretrainedConfig, dtype: str) -> int:
    """Bytes of the key-value cache per token."""
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
    first, both = (kept(count, again=False) for count in (1, 2))
    layer = both - first
    others = int(config.get_text_config().num_hidden_layers) - 1
    if not gradient_checkpointing:
        return first + others * layer
    first, both = (kept(count, again=True) for count in (1, 2))
    return first + others * (both - first) + layer


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
            # Training gives no mask. Here one would be made in any case: whether rows hold several texts
            # cannot be seen in tensors without data (`find_packed_sequence_indices` of transformers).
            model.base_model(input_ids=batch, attention_mask=batch, use_cache=False)
        return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
