"""Refusals of checkpoints that are not what they seem, from JSON and headers: no engine, no weights."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from apo_core.errors import InputError

# What quantisers wrote beside config.json before `quantization_config` was in it.
_QUANTISER_FILES = {
    "quantize_config.json": "gptq",
    "quant_config.json": "awq",
    "hf_quant_config.json": "modelopt",
}
_QUANTISED_DTYPES = re.compile(r"F8_|F6_|F4")  # of safetensors; nothing is trained in them
_LANGUAGE_MODEL = re.compile(r"CausalLM|LMHead|ConditionalGeneration")
_LONGEST_HEADER = 2**27  # bytes; what safetensors itself accepts is less


def check_checkpoint(directory: Path, config: dict[str, Any]) -> None:
    """Refuse a checkpoint whose weights are not those of a plain language model.

    Args:
        directory: of the model.
        config: content of its config.json.

    Raises:
        InputError: it is quantised, has an adapter beside it, or its head is no language model's.
    """
    if (directory / "adapter_config.json").exists():
        raise InputError(
            directory / "adapter_config.json",
            "an adapter lies beside config.json, and it is not clear which model is meant; merge the adapter "
            "into the model (`merge_and_unload` of peft), or take its files out of the directory",
        )
    check_config(directory, config)
    method = _quantiser_of(directory) or _quantised_dtype(directory)
    if method is not None:
        raise _is_quantised(directory, method)


def check_config(source: Path | str, config: dict[str, Any]) -> None:
    """The part of `check_checkpoint` that needs the configuration alone; `source` names it in errors."""
    if method := quantisation_of(config):
        raise _is_quantised(source, method)
    if "AutoModelForCausalLM" in (config.get("auto_map") or {}):  # the directory's own code says what it is
        return
    names = [name for name in config.get("architectures") or [] if isinstance(name, str)]
    if names and not any(_LANGUAGE_MODEL.search(name) for name in names):
        raise InputError(
            source,
            f"is no language model: it has the head of {', '.join(names)}, expected one that predicts the "
            "next token (...ForCausalLM)",
            field="architectures",
        )
    if config.get("is_encoder_decoder"):
        raise InputError(
            source, "has an encoder and a decoder; a policy is a decoder alone", field="is_encoder_decoder"
        )


def _is_quantised(source: Path | str, method: str) -> InputError:
    return InputError(source, f"is quantised ({method}): a policy that trains needs plain weights")


def quantisation_of(config: dict[str, Any]) -> str | None:
    """The method by which a configuration, or a part of it, says that the weights are quantised."""
    for key in ("quantization_config", "compression_config"):
        if method_config := config.get(key):
            return _method_of(method_config)
    for part in config.values():  # of models with several parts: text_config
        if isinstance(part, dict) and (method := quantisation_of(part)):
            return method
    return None


def _method_of(method_config: Any) -> str:
    if not isinstance(method_config, dict):
        return "unknown method"
    for name in ("quant_method", "quant_algo", "format"):
        if isinstance(method := method_config.get(name), str):
            return method
    # bitsandbytes named no method at first.
    return "bitsandbytes" if {"load_in_4bit", "load_in_8bit"} & method_config.keys() else "unknown method"


def _quantiser_of(directory: Path) -> str | None:
    return next((method for name, method in _QUANTISER_FILES.items() if (directory / name).exists()), None)


def _quantised_dtype(directory: Path) -> str | None:
    """The first precision among the weights that no policy trains in."""
    for file in sorted(directory.glob("*.safetensors")):
        for tensor in tensors_of(file).values():
            if _QUANTISED_DTYPES.match(tensor["dtype"]):
                return str(tensor["dtype"])
    return None


def tensors_of(file: Path) -> dict[str, dict[str, Any]]:
    """Dtype and shape of the tensors of a safetensors file, from its header; empty where it is damaged."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > _LONGEST_HEADER:
            return {}  # the loader says what is wrong with it
        try:
            header = json.loads(stream.read(length))
        except ValueError:
            return {}
    if not isinstance(header, dict):
        return {}
    return {name: tensor for name, tensor in header.items() if isinstance(tensor, dict) and "dtype" in tensor}
