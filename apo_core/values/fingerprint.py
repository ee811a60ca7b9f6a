"""What a value table is valid for: one hash for each thing that V* depends on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from apo_core.errors import FingerprintMismatch
from apo_core.system.files import sha256_of

Fingerprint = dict[str, str]
_WEIGHTS = "*.safetensors"


def fingerprint(
    *,
    reference: Path,
    template: dict[str, Any],
    generation: dict[str, Any],
    verifier: str,
    verifier_version: str,
    prompts: list[tuple[str, str, str]],
) -> Fingerprint:
    """Hash the conditions under which responses are drawn and scored.

    Args:
        reference: model directory; its weights and configuration are one field, the rest is the tokenizer.
        template: settings of the template.
        generation: settings of the sampling distribution.
        verifier: name.
        verifier_version: changes whenever a score may.
        prompts: (prompt_id, answer, row) of the training prompts; the id is a hash of the prompt.
    """
    files = [file for file in sorted(reference.iterdir()) if file.is_file()]
    weights = [file for file in files if file.match(_WEIGHTS) or file.name == "config.json"]
    return {
        "reference": _of_files(weights),
        "tokenizer": digest([_of_files([file for file in files if file not in weights]), template]),
        "sampler": digest(generation),
        "verifier": f"{verifier}@{verifier_version}",
        "prompts": digest(sorted(prompts)),
    }


def check_fingerprint(table: Path, found: Fingerprint, expected: Fingerprint) -> None:
    """Refuse a table that was made under other conditions.

    Raises:
        FingerprintMismatch: names every field that differs.
    """
    differing = [name for name in expected if found.get(name) != expected[name]]
    if differing:
        details = ", ".join(
            f"{name} was {_short(found.get(name, 'absent'))} and is {_short(expected[name])}"
            for name in differing
        )
        raise FingerprintMismatch(
            f"{table}: the table was made under other conditions: {details}; "
            "make it anew (`apo stage sample --force`, then `apo run`)"
        )


def _short(value: str) -> str:
    """A hash's beginning; a version whole."""
    return value if "@" in value else value[:16]


def digest(value: Any) -> str:
    """sha256 of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _of_files(files: list[Path]) -> str:
    return digest([[file.name, sha256_of(file)] for file in files])
