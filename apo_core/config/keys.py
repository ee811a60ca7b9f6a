"""Keys that `params.yaml` does not have: what was meant, or what became of a key of an earlier version."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import get_args

from apo_core.config.algorithm import DEFAULTS
from apo_core.config.params import Params
from apo_core.config.section import Section

_DELETE = "delete the line"
# Keys of earlier versions, with what to do about each.
REMOVED = {
    "algorithm.centre": _DELETE,
    "generation.top_p": _DELETE,
    "generation.top_k": _DELETE,
    "train.sampler.vllm": (
        "write `vllm_override: {}` in its place, with the keys in it that differ from sampler.vllm"
    ),
}


def unknown_key(key: str, algorithm: str | None = None) -> str:
    """Say that a key is unknown, and which known one is nearest to it.

    Args:
        key: with its sections, separated by dots.
        algorithm: whose section `algorithm` is; None for the first.
    """
    section, _, name = key.rpartition(".")
    if key in REMOVED:
        return f"is of an earlier version: {REMOVED[key]}"
    if section == "algorithm" and algorithm and any(name in keys for keys in DEFAULTS.values()):
        return f"is no parameter of {algorithm}; --set algorithm={algorithm} writes its whole section"
    nearest = _nearest(key, list(known_keys(algorithm)))
    return "unknown parameter" + (f"; did you mean {nearest}?" if nearest else "")


def known_keys(algorithm: str | None = None) -> Iterator[str]:
    """Every key and section of `params.yaml`, with the sections that it is in, separated by dots."""
    yield from _keys(Params, "", algorithm or next(iter(DEFAULTS)))


def _keys(model: type[Section], prefix: str, algorithm: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        for section in _sections(field.annotation):
            variant = section.model_fields.get("name") if name == "algorithm" else None
            if variant is None or algorithm in get_args(variant.annotation):
                yield from _keys(section, f"{prefix}{name}.", algorithm)


def _sections(annotation: object) -> list[type[Section]]:
    """The sections that a key may hold: `Lora | None` holds one, `algorithm` one of several."""
    types = (annotation, *get_args(annotation))
    return [kind for kind in types if isinstance(kind, type) and issubclass(kind, Section)]


def _nearest(key: str, known: list[str]) -> str | None:
    section, _, name = key.rpartition(".")
    siblings = {path.rpartition(".")[2]: path for path in known if path.rpartition(".")[0] == section}
    if close := get_close_matches(name, siblings, n=1):
        return siblings[close[0]]
    if close := get_close_matches(key, known, n=1, cutoff=0.9):  # the section is misspelt
        return close[0]
    if elsewhere := [path for path in known if path.rpartition(".")[2] == name]:
        return min(elsewhere, key=lambda path: path.count("."))
    return next(iter(get_close_matches(key, known, n=1, cutoff=0.8)), None)
