"""Memory of training on one rank, and disk space of its checkpoints."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PretrainedConfig

from apo_core.plan.activations import activation_bytes
from apo_core.plan.deepspeed_memory import Partitions, checkpoint_bytes, deepspeed_items
from apo_core.plan.engine_memory import ASLEEP_MIB, CONTEXT_MIB, NCCL_MIB, PROCESS_MIB, Engine
from apo_core.plan.items import BYTES, MIB, Item
from apo_core.plan.model_shape import ModelShape, adapter_parameters

_HEAD_COPIES = 3  # float32 logits of a chunk, scaled, and their gradient
# Weights go to an engine in buckets of at most so much.
_TRANSFER_MIB = 256.0  # of weights on their way to vLLM: `BUCKET_BYTES` of `apo_core.training.policy_copy`


@dataclass(frozen=True, kw_only=True)
class TrainingShape:
    """The dimensions of a training that decide how much memory it takes."""

    config: PretrainedConfig  # of the model; policy and reference policy share it
    model: ModelShape  # its counts
    dtype: str  # to compute in; bfloat16 keeps float32 master weights
    prompt_tokens: int  # the longest prompt
    new_tokens: int  # the longest response
    rollout_rows: int  # responses that the policy itself decodes at once; 0 where an engine does
    batch_rows: int  # responses per update, on one rank
    micro_batch_tokens: int  # of a forward and backward pass
    gradient_checkpointing: bool  # layers are computed again in the backward pass
    ranks: int  # that share what `zero_stage` says
    zero_stage: int  # DeepSpeed's
    offload: str  # what is in the host's memory: "none", "optimizer" or "all"
    kept_checkpoints: int  # on the disk at once, the one being written included
    reference_dtype: str | None  # of the reference policy; None where there is none
    chunk_tokens: int  # whose logits exist at once
    on_gpus: bool = False  # one per rank; else all ranks are in the host's memory
    attention: str | None = None  # as `train.attention`
    critic: bool = False  # a second model learns beside the policy, and is as large
    lagging: bool = False  # a copy of the policy, in its precision, takes the reference's place
    responses_per_loss: int = 1  # responses that a micro-batch cannot part
    lora_rank: int | None = None  # None trains all weights
    packed: bool = False  # the policy decodes with packed copies of its weights (`apo_core.kernels.linear`)
    engine: Engine | None = None  # that samples in the policy's place
    trust_remote_code: bool = False  # run the Python that comes with the model to see its shapes

    @property
    def bytes(self) -> int:
        """Bytes per weight of the policy."""
        return BYTES[self.dtype]

    @property
    def row_tokens(self) -> int:
        """Tokens of the longest prompt with its response."""
        return self.prompt_tokens + self.new_tokens


def plan_training(shape: TrainingShape) -> list[Item]:
    """List what takes memory on one rank during training, and disk space for its checkpoints."""
    model = shape.model
    trained, largest = model.parameters, model.largest
    if shape.lora_rank is not None:
        trained = adapter_parameters(shape.config, shape.lora_rank, shape.trust_remote_code)
        largest = shape.lora_rank * model.hidden
    if shape.critic:
        trained *= 2
    partitions = Partitions(
        trained=trained,
        largest=largest,
        ranks=shape.ranks,
        zero_stage=shape.zero_stage,
        dtype=shape.dtype,
        offload=shape.offload,
        on_host=not shape.on_gpus,
    )
    return [
        *_processes(shape, model.parameters),
        *_models(shape, model.parameters),
        *deepspeed_items(partitions),
        *_held_in_rollout(shape, model.parameters),
        *_held_in_update(shape),
        Item("checkpoints", _checkpoint_mib(shape, model.parameters, trained), memory="disk"),
    ]


def _processes(shape: TrainingShape, parameters: int) -> list[Item]:
    """What a process takes before any weight: on a GPU a context, and NCCL's buffers."""
    if not shape.on_gpus:
        return [Item("process", PROCESS_MIB)]
    return [
        Item("CUDA context", CONTEXT_MIB),
        Item("NCCL", NCCL_MIB if shape.ranks > 1 else 0.0),
        # Weights are read into the host's memory on their way to the GPU, by all ranks at once.
        Item("processes", shape.ranks * PROCESS_MIB, memory="host"),
        Item("weights on their way", shape.ranks * parameters * shape.bytes / MIB, memory="host"),
    ]


def _models(shape: TrainingShape, parameters: int) -> list[Item]:
    """The weights of policy, critic and reference policy."""
    own = parameters / (shape.ranks if shape.zero_stage == 3 else 1) * (2 if shape.critic else 1)
    reference = 0
    if shape.lagging:
        reference = shape.bytes
    elif shape.reference_dtype is not None and shape.lora_rank is None:  # else it is the policy's own weights
        reference = BYTES[shape.reference_dtype]
    return [
        Item(
            "policy and critic" if shape.critic else "policy",
            own * shape.bytes / MIB,
            memory="host" if shape.offload == "all" else "device",
        ),
        Item("lagging copy" if shape.lagging else "reference", reference * parameters / MIB),
    ]


def _held_in_rollout(shape: TrainingShape, parameters: int) -> list[Item]:
    """What sampling takes beside the weights that are there."""
    weights = parameters * shape.bytes / MIB
    away = shape.offload == "all"
    gathered = weights * (1 if away else 1 - 1 / shape.ranks) if shape.zero_stage == 3 else 0.0
    if shape.engine is not None:
        # A weight that is larger goes by itself (`apo_core.training.policy_copy.in_buckets`).
        bucket = min(weights, max(_TRANSFER_MIB, shape.model.largest * shape.bytes / MIB))
        return [
            *_engine(shape.engine, shape.on_gpus),
            Item("all weights gathered", gathered, "canary"),
            Item("gathered weights", min(gathered, bucket), "rollout"),
            Item("bucket of weights", bucket, "rollout"),
        ]
    rows = shape.rollout_rows
    cache = rows * shape.row_tokens * shape.model.cached * shape.bytes
    return [
        Item("gathered weights", gathered, "rollout"),
        Item("packed weights", shape.packed * weights, "rollout"),
        Item("key-value cache", cache / MIB, "rollout"),
        Item("logits of a token", rows * shape.model.vocabulary * (shape.bytes + 8) / MIB, "rollout"),
    ]


def _engine(engine: Engine, on_gpus: bool) -> list[Item]:
    """An engine that sleeps while the policy learns gives back weights and cache."""
    if engine.sleeps and on_gpus:
        return [
            Item("vLLM asleep", ASLEEP_MIB),
            Item("vLLM awake", engine.device_mib - ASLEEP_MIB, "rollout"),
            Item("vLLM's process", engine.host_mib, memory="host"),
        ]
    return [Item("vLLM", engine.device_mib), Item("vLLM's process", engine.host_mib, memory="host")]


def _held_in_update(shape: TrainingShape) -> list[Item]:
    """What the forward and backward pass of the largest micro-batch takes."""
    model, together = shape.model, shape.responses_per_loss
    fitting = shape.micro_batch_tokens // (together * shape.row_tokens) * together
    rows = max(together, min(fitting, shape.batch_rows))
    activations = activation_bytes(
        shape.config,
        rows=rows,
        tokens=shape.row_tokens,
        dtype=shape.dtype,
        gradient_checkpointing=shape.gradient_checkpointing,
        attention=shape.attention,
        trust_remote_code=shape.trust_remote_code,
    )
    # The head's gradient in float32, then as the weights are; if tied also the input embedding's, and their
    # sum, unless they are one tensor (`apo_core.kernels.tied_embedding`).
    shared = shape.packed and shape.dtype == "float32"
    copies = 4 + shape.bytes + (2 * shape.bytes if shape.config.tie_word_embeddings and not shared else 0)
    head = model.head_weights * copies if shape.lora_rank is None else 0
    chunk = min(shape.chunk_tokens, rows * shape.new_tokens)
    return [
        Item("activations", (2 if shape.critic else 1) * activations / MIB, "update"),
        Item("gradient of the head", head / MIB, "update"),
        Item("logits of a chunk", chunk * model.vocabulary * 4 * _HEAD_COPIES / MIB, "update"),
    ]


def _checkpoint_mib(shape: TrainingShape, parameters: int, trained: int) -> float:
    """Weights, masters and moments of all ranks, and the lagging copy beside them."""
    size = trained * checkpoint_bytes(shape.dtype, shape.zero_stage)
    if shape.lagging:
        size += parameters * shape.bytes
    return shape.kept_checkpoints * size / MIB
