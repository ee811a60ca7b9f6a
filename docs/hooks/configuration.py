"""The reference of `params.yaml`: every key of the models in `apo_core.config`, from their own docstrings."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from functools import cache
from inspect import cleandoc
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML

from apo_core.config.algorithm import DEFAULTS
from apo_core.config.overlay import description_of
from apo_core.config.params import Params
from flows.workspaces import presets as preset_files

ROOT = Path(__file__).parents[2]
_WORDS = {int: "whole number", float: "number", str: "text", bool: "`true` or `false`"}


class Key(NamedTuple):
    """One key of the configuration."""

    path: str  # train.checkpoint.every
    kind: str
    description: str
    default: Any  # of preset `embedded`


def reference() -> str:
    """Return a heading for every section, and its keys below."""
    embedded, stages = _embedded(), stages_by_key()
    parts = [_keys(_plain_keys(embedded), stages)]
    for name, field in Params.model_fields.items():
        models = _models_of(field.annotation)
        if not models:
            continue
        if name == "algorithm":
            parts.append(_algorithms(models, stages))
            continue
        parts.append(f"## {name} {{ #{name} }}\n\n{_doc(models[0])}\n\n{_reruns(name, stages)}\n")
        parts.append(_keys(keys_of(models[0], name, embedded[name]), stages))
    return "\n".join(parts)


def presets() -> str:
    """Return a row for every preset, with the description that is its file's first line."""
    files = sorted(preset_files().items(), key=lambda preset: preset[0] != "embedded")  # it comes first
    rows = [f"| `{name}` | {description_of(file)} |" for name, file in files]
    return "\n".join(["| preset | what it is |", "|---|---|", *rows])


def keys_of(model: type[BaseModel], prefix: str, defaults: Mapping[str, Any] | None) -> Iterator[Key]:
    """Walk a section and the sections in it."""
    for name, field in model.model_fields.items():
        path = f"{prefix}.{name}" if prefix else name
        default = None if defaults is None else defaults.get(name)
        inner = _models_of(field.annotation)
        optional = type(None) in get_args(field.annotation)
        if inner:
            kind = "a section, or `null`" if optional else "a section"
            description = field.description or _doc(inner[0])
            yield Key(path, kind, description, default if optional else ...)
            yield from keys_of(inner[0], path, default if isinstance(default, Mapping) else None)
        else:
            absent = defaults is None
            yield Key(path, kind_of(field), field.description or "", ... if absent else default)


def kind_of(field: FieldInfo) -> str:
    """Say in words what values a key takes."""
    return _words(field.annotation, list(field.metadata))


def _words(annotation: Any, constraints: list[Any]) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _words(arguments[0], [*constraints, *_flat(arguments[1:])])
    if origin in (Union, types.UnionType):
        return ", or ".join(
            "`null`" if member is type(None) else _words(member, constraints) for member in arguments
        )
    if origin is Literal:
        return " | ".join(f"`{value}`" for value in arguments)
    if origin is tuple and arguments[-1] is not Ellipsis:
        return f"a list of {len(arguments)}: {_words(arguments[0], constraints)}"
    if origin is tuple:
        return f"a list of {_words(arguments[0], constraints)}"
    bounds = " and ".join(filter(None, map(_bound, constraints)))
    return f"{_WORDS[annotation]} {bounds}".rstrip()


def _flat(metadata: tuple[Any, ...]) -> list[Any]:
    """Constraints that stand in a `Field(...)` of an `Annotated` are in its own list."""
    return [
        part for entry in metadata for part in (entry.metadata if isinstance(entry, FieldInfo) else [entry])
    ]


def _bound(constraint: Any) -> str:
    match constraint:
        case annotated_types.Gt(gt=bound):
            return f"above {bound:g}" if isinstance(bound, float) else f"above {bound}"
        case annotated_types.Ge(ge=bound):
            return f"at least {bound}"
        case annotated_types.Lt(lt=bound):
            return f"below {bound}"
        case annotated_types.Le(le=bound):
            return f"at most {bound}"
    return ""


def _models_of(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for member in get_args(annotation) for model in _models_of(member)]


def _doc(model: type[BaseModel]) -> str:
    return cleandoc(model.__doc__ or "")


def _plain_keys(embedded: Mapping[str, Any]) -> Iterator[Key]:
    for name, field in Params.model_fields.items():
        if not _models_of(field.annotation):
            yield Key(name, kind_of(field), field.description or "", embedded[name])


def _keys(keys: Iterator[Key], stages: Mapping[str, list[str]]) -> str:
    return "\n".join(_entry(key, stages) for key in keys)


def _entry(key: Key, stages: Mapping[str, list[str]]) -> str:
    text = f"{' '.join(cleandoc(key.description).split())}<br>" if key.description else ""
    default = "" if key.default is ... else f" Preset `embedded`: `{_yaml(key.default)}`."
    reruns = "" if "." in key.path else f" {_reruns(key.path, stages)}"
    kind = f"{key.kind[0].upper()}{key.kind[1:]}."
    return f'<a id="{key.path}"></a>**`{key.path}`**\n:   {text}{kind}{default}{reruns}\n'


def _algorithms(models: list[type[BaseModel]], stages: Mapping[str, list[str]]) -> str:
    text = f"""## algorithm {{ #algorithm }}

How stage 2 learns. The keys depend on `algorithm.name`; `apo run --set algorithm=NAME` writes the section
with the values given here.

{_reruns("algorithm", stages)}
"""
    for model in models:
        (name,) = get_args(model.model_fields["name"].annotation)
        text += f"\n### algorithm.name: {name} {{ #algorithm-{name} }}\n\n{_doc(model)}\n\n"
        keys = [key for key in keys_of(model, "algorithm", DEFAULTS[name]) if key.path != "algorithm.name"]
        entries = _keys(iter(keys), stages).replace('<a id="algorithm.', f'<a id="algorithm-{name}.')
        text += entries.replace("Preset `embedded`", "To begin with")
    return text


def _yaml(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _reruns(key: str, stages: Mapping[str, list[str]]) -> str:
    names = stages.get(key, [])
    if not names:
        return "No stage reruns on a change."
    return f"A change reruns {', '.join(f'`{name}`' for name in names)}, and what depends on their outputs."


@cache
def stages_by_key() -> dict[str, list[str]]:
    """Return the stages that read a section of `params.yaml`, as `dvc.yaml` has them."""
    pipeline = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    readers: dict[str, list[str]] = {}
    for stage, definition in pipeline["stages"].items():
        for param in definition.get("params", []):
            names = readers.setdefault(param.partition(".")[0], [])
            if stage not in names:
                names.append(stage)
    return readers


@cache
def _embedded() -> dict[str, Any]:
    return dict(YAML(typ="safe").load((ROOT / "presets/embedded.yaml").read_text(encoding="utf-8")))
