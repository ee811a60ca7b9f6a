"""Reading, changing and writing `params.yaml`; comments and layout survive a change."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.tokens import CommentToken

from apo_core.config import DEFAULTS, Params, Template
from apo_core.errors import InputError
from apo_core.system.files import write_text


def load_params(file: Path) -> Params:
    """Read and check a configuration.

    Raises:
        InputError: the file is missing, is no YAML, or a key is unknown, missing or out of range; names
            the line and the key.
    """
    return _checked(file, _read(file))


def load_template_section(file: Path) -> Template:
    """Read the template of a configuration that another version of this program may have written.

    Raises:
        InputError: the file has no valid template.
    """
    try:
        return Template.model_validate_json(json.dumps(_read(file).get("template")))
    except ValidationError as error:
        raise InputError(file, error.errors()[0]["msg"], field="template") from None


def set_params(file: Path, assignments: Sequence[str], *, write: bool = True) -> Params:
    """Apply `key.path=value` assignments (values in YAML) to the file, all or none.

    `algorithm=NAME` writes the whole section with that algorithm's default settings.

    Args:
        file: the configuration.
        assignments: applied in order.
        write: change the file; else only say what it would become.

    Raises:
        InputError: an assignment is malformed or leaves the configuration invalid; the file is unchanged.
    """
    tree = _read(file)
    assigned = [_assign(file, tree, assignment) for assignment in assignments]
    params = _checked(file, tree, assigned)
    if write and assignments:
        buffer = io.StringIO()
        _yaml().dump(tree, buffer)
        write_text(file, buffer.getvalue())
    return params


def _yaml() -> YAML:
    yaml = YAML()
    yaml.width = 120
    yaml.preserve_quotes = True
    # None is written as null, as people write it.
    yaml.representer.add_representer(
        type(None), lambda dumper, _: dumper.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return yaml


def _read(file: Path) -> Any:
    try:
        tree = _yaml().load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(file, "no such file; `apo init DIR` makes a workspace") from None
    except MarkedYAMLError as error:
        row = error.problem_mark.line + 1 if error.problem_mark else None
        raise InputError(file, f"not YAML: {error.problem}", row=row) from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise InputError(file, f"not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(tree, dict):
        raise InputError(file, "must hold a mapping of sections")
    return tree


def _assign(file: Path, tree: Any, assignment: str) -> str:
    """Change the tree; the key that was changed."""
    key, equals, text = assignment.partition("=")
    if not equals or not key:
        raise InputError(file, f"--set {assignment!r} is not of the form key=value")
    *sections, last = key.split(".")
    node = tree
    for section in sections:
        node = node.get(section) if isinstance(node, dict) else None
    if not isinstance(node, dict) or last not in node:
        raise InputError(file, "unknown parameter", field=key)
    try:
        value = _yaml().load(text)
    except YAMLError:
        raise InputError(file, f"{text!r} is not YAML", field=key) from None
    if key == "algorithm" and isinstance(value, str):
        value = _in_place_of(node[last], _defaults(file, value))
    node[last] = value
    return key


def _defaults(file: Path, name: str) -> dict[str, Any]:
    if name not in DEFAULTS:
        raise InputError(file, f"is one of {', '.join(DEFAULTS)}, found {name!r}", field="algorithm")
    return dict(DEFAULTS[name])


def _in_place_of(before: Any, section: dict[str, Any]) -> CommentedMap:
    """A section followed by the lines that follow another in the file: they hang on that one's last key."""
    made = CommentedMap(section)
    comments = before.ca.items.get(list(before)[-1]) if isinstance(before, CommentedMap) and before else None
    if comments is not None and comments[2] is not None:
        _, newline, after = comments[2].value.partition("\n")
        token = CommentToken(newline + after, comments[2].start_mark)
        made.ca.items[list(made)[-1]] = [None, None, token, None]
    return made


def _checked(file: Path, tree: Any, assigned: Sequence[str] = ()) -> Params:
    # A date, set or tag fits no key: as a mapping it is refused at the key that holds it.
    text = json.dumps(tree, default=lambda value: {"not plain YAML": repr(value)})
    try:
        return Params.model_validate_json(text)
    except ValidationError as error:
        raise _refusal(file, tree, assigned, error) from None


def _refusal(file: Path, tree: Any, assigned: Sequence[str], error: ValidationError) -> InputError:
    first = error.errors()[0]
    location = [part for part in first["loc"] if isinstance(part, str)]
    problem = first["msg"].removeprefix("Value error, ")
    named = location[1:2] if location[:1] == ["algorithm"] else []
    if named:  # pydantic names the algorithm whose key it is
        del location[1]
    if first["type"] == "extra_forbidden":
        problem = "unknown parameter"
    elif first["type"] == "missing":
        problem = "missing parameter" + (f"; algorithm={named[0]} writes them all" if named else "")
    elif first["type"].startswith("union_tag"):
        location.append("name")
        problem = f"is one of {', '.join(DEFAULTS)}, found {first.get('ctx', {}).get('tag')!r}"
    elif not isinstance(first["input"], dict):
        problem += f", found {first['input']!r}"
    field = ".".join(location)
    # What the file says on that line is not what was refused.
    row = None if field in assigned else _line(tree, location)
    return InputError(file, problem, row=row, field=field or None)


def _line(node: Any, location: list[str]) -> int | None:
    """The line of the innermost key on the path that the file has, counted from 1."""
    line = None
    for key in location:
        if not isinstance(node, CommentedMap) or key not in node:
            break
        line = node.lc.key(key)[0] + 1
        node = node[key]
    return line
