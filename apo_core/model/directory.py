"""Model directories: how one is named, and what it must hold. Needs no engine, so a refusal comes at once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apo_core.errors import InputError
from apo_core.model.checkpoint_checks import check_checkpoint


@dataclass(frozen=True, kw_only=True)
class ModelRef:
    """A model directory and how to load it."""

    path: Path  # of safetensors weights, configuration and tokenizer
    dtype: str = "auto"  # to compute in: "float32", "bfloat16", or "auto", what the weights are stored in
    trust_remote_code: bool = False  # let the directory's own Python run
    attention: str | None = None  # how its layers attend, in transformers' names; None leaves it the choice


def check_model_directory(directory: Path) -> None:
    """Refuse what is not a model directory before an engine trips over it.

    Raises:
        InputError: a part is missing, or the weights are not those of a plain language model; names what.
    """
    if not directory.is_dir():
        raise InputError(directory, "is not a model directory: no such directory")
    if not (directory / "config.json").is_file():
        if (directory / "adapter_config.json").is_file():
            raise InputError(directory, "holds an adapter alone; merge it into the model that it belongs to")
        raise InputError(directory, "is not a model directory: config.json is missing")
    if not list(directory.glob("*.safetensors")):
        raise InputError(directory, "has no *.safetensors weights; other formats are not loaded")
    if not (directory / "tokenizer_config.json").is_file():
        raise InputError(directory, "is not a model directory: tokenizer_config.json is missing")
    for name in ("config.json", "tokenizer_config.json", "generation_config.json"):
        # transformers would pass over a generation_config.json that it cannot read.
        if (directory / name).is_file():
            _json_object(directory / name)
    check_checkpoint(directory, _json_object(directory / "config.json"))


def _json_object(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(file, f"malformed JSON: {error}") from None
    if not isinstance(content, dict):
        raise InputError(file, "must be a JSON object")
    return content
