"""Loading and saving policies: plain Hugging Face directories, safetensors only."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GenerationConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from apo_core.errors import ApoError, InputError
from apo_core.model.acceleration import accelerate
from apo_core.model.architecture_checks import check_states
from apo_core.model.directory import ModelRef, check_model_directory
from apo_core.model.template import first_line
from apo_core.model.weight_checks import check_weights
from apo_core.system.files import replacing
from apo_core.system.imports import quick_imports

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "auto": "auto"}


def load_policy(source: ModelRef) -> PreTrainedModel:
    """Load a causal language model in evaluation mode onto the best device.

    Raises:
        InputError: the directory holds no usable model.
        ApoError: the model or this machine cannot attend as `source` asks.
    """
    check_model_directory(source.path)
    try:
        with quick_imports():  # of the architecture's module
            model, loaded = AutoModelForCausalLM.from_pretrained(
                source.path,
                dtype=DTYPES[source.dtype],
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=source.trust_remote_code,
                attn_implementation=source.attention,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError, StrictDataclassError) as error:
        _refuse_attention(source, error)
        raise InputError(source.path, f"is not a model directory: {first_line(error)}") from error
    except ImportError as error:
        _refuse_attention(source, error)
        raise InputError(source.path, f"needs what is not installed: {first_line(error)}") from error
    try:
        check_weights(missing=loaded["missing_keys"], unexpected=loaded["unexpected_keys"])
        check_states(model.config, type(model))
    except ApoError as error:
        raise InputError(source.path, str(error)) from None
    _disable_dropout(model)
    model = model.to(device()).eval()
    accelerate(model)
    return model


def _refuse_attention(source: ModelRef, error: Exception) -> None:
    """Name the key where transformers names the attention that it asks for."""
    if source.attention is None:
        return
    attention, words = (re.sub("[_ ]", "", str(text).lower()) for text in (source.attention, error))
    if attention in words:
        raise ApoError(f"train.attention: {source.attention}: {source.path}: {first_line(error)}") from error


def load_config(source: ModelRef) -> PretrainedConfig:
    """The configuration of a model, without its weights.

    Raises:
        InputError: the directory holds no usable model.
    """
    check_model_directory(source.path)
    try:
        return AutoConfig.from_pretrained(
            source.path, local_files_only=True, trust_remote_code=source.trust_remote_code
        )
    except (OSError, ValueError, KeyError, StrictDataclassError) as error:
        raise InputError(source.path, f"is not a model directory: {first_line(error)}") from error


@torch.no_grad()
def head_mismatch(model: PreTrainedModel) -> float:
    """How far the model's own logits are from output-embedding x last-hidden-state, on a few tokens.

    Some architectures scale or cap their logits after the head; `ResponseLogProbs` would be wrong for them.
    """
    token_ids = torch.arange(4, device=model.device)[None] % model.config.get_text_config().vocab_size
    own = model(input_ids=token_ids, use_cache=False).logits.float()
    hidden = model.base_model(input_ids=token_ids, use_cache=False).last_hidden_state
    ours = model.get_output_embeddings()(hidden).float()
    return float((own - ours).abs().max())


def save_policy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    directory: Path,
    *,
    max_new_tokens: int | None = None,
    temperature: float = 1.0,
    stop: set[int] | None = None,
) -> None:
    """Write a plain Hugging Face directory, whole or not at all.

    Args:
        model: its weights are stored in the precision they have.
        tokenizer: stored beside them.
        directory: replaced if it is there.
        max_new_tokens: what the policy was trained to answer within; its default when it generates.
        temperature: what it was trained and evaluated at; its default when it generates.
        stop: tokens that end its responses beside those that did before.
    """
    # What the reference's authors set for chatting (top_p, repetition penalty) is not this policy's sampler.
    model.generation_config = GenerationConfig(
        eos_token_id=sorted(end_ids(model, tokenizer) | (stop or set())),
        pad_token_id=tokenizer.pad_token_id,
        do_sample=True,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=0,
        top_p=1.0,
    )
    with replacing(directory) as temporary:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        mode = (temporary / "config.json").stat().st_mode
        for weights in temporary.glob("*.safetensors"):  # written for their owner alone
            with suppress(OSError):  # a mount without modes
                weights.chmod(mode)


def end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Every token that ends a response: the tokenizer's, and those the model's generation settings add."""
    return _end_ids(model.generation_config, tokenizer)


def saved_end_ids(directory: Path, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """`end_ids` of a directory, without loading its weights; `save_policy` writes generation settings."""
    if not (directory / "generation_config.json").exists():
        return _end_ids(None, tokenizer)
    return _end_ids(GenerationConfig.from_pretrained(directory, local_files_only=True), tokenizer)


def _end_ids(generation: GenerationConfig | None, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    extra = generation.eos_token_id if generation else None
    ids = {tokenizer.eos_token_id, *([extra] if isinstance(extra, int) else extra or [])}
    return {int(token) for token in ids}


def _disable_dropout(model: PreTrainedModel) -> None:
    """Policy and reference may differ by their weights only, in training mode too."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for name in ("attention_dropout", "dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


def device() -> torch.device:
    """This process's accelerator where there is one."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())
