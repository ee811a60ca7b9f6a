"""Fingerprint of a value table: one hash for each thing that V* depends on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from apo_core.errors import FingerprintMismatch
from apo_core.system.files import sha256_of

Fingerprint = dict[str, str]
_WEIGHTS = "*.safetensors"
_DECODING = 2  # changes whenever the text that a verifier gets of the same response may


def fingerprint(
    *,
    reference: Path,
    template: dict[str, Any],
    generation: dict[str, Any],
    verifier: str,
    verifier_version: str,
    prompts: list[tuple[str, str, str]],
) -> Fingerprint:
    """Hash the conditions under which responses are sampled and scored.

    Args:
        reference: directory of the reference policy: weights and configuration are one field of the
            fingerprint, all other files are the tokenizer.
        template: parameters of the prompt template.
        generation: parameters of the sampling distribution.
        verifier: name of the verifier.
        verifier_version: its version, which changes whenever a score may change.
        prompts: (prompt_id, answer, row) of the training prompts; the id is a hash of the prompt.
    """
    files = [file for file in sorted(reference.iterdir()) if file.is_file()]
    weights = [file for file in files if file.match(_WEIGHTS) or file.name == "config.json"]
    return {
        "reference": _of_files(weights),
        "tokenizer": digest([_of_files([file for file in files if file not in weights]), template]),
        "sampler": digest(generation),
        "verifier": f"{verifier}@{verifier_version}/text-{_DECODING}",
        "prompts": digest(sorted(prompts)),
    }


def check_fingerprint(table: Path, recorded: Fingerprint, expected: Fingerprint) -> None:
    """Refuse a table whose recorded fingerprint differs from the expected one.

    Raises:
        FingerprintMismatch: names every field that differs.
    """
    differing = [name for name in expected if recorded.get(name) != expected[name]]
    if differing:
        details = ", ".join(
            f"{name} was {_short(recorded.get(name, 'absent'))} and is {_short(expected[name])}"
            for name in differing
        )
        raise FingerprintMismatch(
            f"{table}: the table was made under other conditions: {details}; "
            "make it anew (`apo stage sample --force`, then `apo run`)"
        )


def _short(value: str) -> str:
    """Shorten a hash to its first 16 digits; a verifier's version stays whole."""
    return value if "@" in value else value[:16]


def digest(value: Any) -> str:
    """Compute the sha256 of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _of_files(files: list[Path]) -> str:
    return digest([[file.name, sha256_of(file)] for file in files])
