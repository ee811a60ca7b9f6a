"""Tokens of a response that are no part of its text: those that end it, and those that only mark places."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def end_tokens_of(directory: Path) -> frozenset[int]:
    """Read the end-of-sequence tokens of `generation_config.json`, or of `config.json` where there is none.

    Args:
        directory: of a model, as `check_model_directory` accepts it.
    """
    files = (directory / "generation_config.json", directory / "config.json")
    file = next(file for file in files if file.is_file())
    ids = json.loads(file.read_text(encoding="utf-8")).get("eos_token_id")
    return frozenset(token for token in (ids if isinstance(ids, list) else [ids]) if isinstance(token, int))


def marks_of(tokenizer: Any) -> frozenset[int]:
    """List the tokens that a tokenizer names for a purpose of its own: beginning, end, padding, unknown.

    Special tokens that a model's authors added, such as `<answer>`, are not among them.
    """
    purposes = ("bos", "eos", "pad", "unk", "sep", "cls", "mask")
    ids = (getattr(tokenizer, f"{purpose}_token_id", None) for purpose in purposes)
    return frozenset(token for token in ids if token is not None)


def special_tokens_of(tokenizer: Any) -> frozenset[int]:
    """List the tokens that a tokenizer's authors added beside its vocabulary of text, and called special."""
    added = tokenizer.added_tokens_decoder.items()
    return frozenset(token for token, description in added if description.special)
