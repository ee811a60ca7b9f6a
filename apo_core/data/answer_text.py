"""Typed values as the text of an answer: numbers written out, labels by their names."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

Restore = Callable[[Any], Any]


def number_text(value: float | Decimal) -> str | None:
    """Write a number out, without an exponent and without zeros at the end: 0.00001, 5, 2.5.

    Returns:
        None if the value is no number: NaN, infinite, or a bool, which is an int to Python.
    """
    if isinstance(value, bool) or not (isinstance(value, int) or math.isfinite(value)):
        return None
    if isinstance(value, int):
        return str(value)
    # The shortest decimal that is the same float.
    written = format(Decimal(repr(value)) if isinstance(value, float) else value, "f")
    text = written.rstrip("0").rstrip(".") if "." in written else written
    return "0" if text == "-0" else text


def restorer(kind: pa.DataType, feature: Any = None) -> Restore | None:
    """Make the function that gives a value of a Parquet column what its author wrote.

    A float of 32 or 16 bits becomes the float with its shortest text: 0.1, not 0.10000000149011612. A class
    label of Hugging Face's `datasets` becomes its name.

    Args:
        kind: type of the column.
        feature: what `datasets` says of it in the file's metadata (`features_of`).

    Returns:
        None if values stay as they are.
    """
    if names := _label_names(feature):
        return lambda value: _label(value, names)
    if pa.types.is_float32(kind) or pa.types.is_float16(kind):
        narrow = np.float32 if pa.types.is_float32(kind) else np.float16
        return lambda value: None if value is None else float(str(narrow(value)))
    if pa.types.is_struct(kind):
        return _struct_restorer(kind, feature if isinstance(feature, dict) else {})
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _list_restorer(kind, feature)
    return None


def features_of(schema: pa.Schema) -> dict[str, Any]:
    """Read what `datasets` wrote about the columns into a file's metadata; empty without."""
    written = (schema.metadata or {}).get(b"huggingface")
    try:
        features = json.loads(written)["info"]["features"] if written else {}
    except (
        ValueError,
        KeyError,
        TypeError,
    ):  # metadata of another program, or damaged: the types stand alone
        return {}
    return features if isinstance(features, dict) else {}


def _label_names(feature: Any) -> list[str]:
    is_label = isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
    return list(feature.get("names") or []) if is_label else []


def _label(value: Any, names: list[str]) -> Any:
    """Name a label; -1 stands for none."""
    if not isinstance(value, int) or value >= len(names):
        return value
    return names[value] if value >= 0 else None


def _struct_restorer(kind: pa.DataType, features: dict[str, Any]) -> Restore | None:
    parts = {field.name: restorer(field.type, features.get(field.name)) for field in kind}
    changed = {name: restore for name, restore in parts.items() if restore is not None}
    if not changed:
        return None

    def restore_struct(value: Any) -> Any:
        if value is None:
            return None
        return value | {name: restore(value[name]) for name, restore in changed.items()}

    return restore_struct


def _list_restorer(kind: pa.DataType, feature: Any) -> Restore | None:
    inner = feature.get("feature") if isinstance(feature, dict) else None
    restore = restorer(kind.value_type, feature[0] if isinstance(feature, list) and feature else inner)
    if restore is None:
        return None
    return lambda values: None if values is None else [restore(value) for value in values]


def tests_text(value: object) -> str | None:
    """Convert tests of a program, a list or an object in data sets, to JSON.

    Args:
        value: of the answer's field.

    Returns:
        The JSON; None of anything that is no list of assertions or of inputs and outputs.
    """
    if isinstance(value, list):
        # One assertion tells tests: what is wrong with another is for the verifier to say.
        texts = all(isinstance(item, str) for item in value)
        is_tests = any(map(_asserts, value)) if texts else all(map(_is_case, value))
    else:
        is_tests = _is_case(value)
    return json.dumps(value, default=str) if is_tests else None


def _asserts(value: object) -> bool:
    """Whether a text is Python with an assertion."""
    if not isinstance(value, str) or "assert" not in value:
        return False
    try:
        tree = ast.parse(value)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # what is no Python, or too deep
        return False
    return any(isinstance(node, ast.Assert) for node in ast.walk(tree))


def _is_case(value: object) -> bool:
    """Whether an object has what goes in and what comes out, or lists of both."""
    return isinstance(value, Mapping) and any(
        {f"input{many}", f"output{many}"} <= value.keys() for many in ("", "s")
    )
