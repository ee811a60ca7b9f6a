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
from apo_core.config.keys import REMOVED, unknown_key
from apo_core.config.verifier import as_list, list_in_place_of
from apo_core.errors import InputError
from apo_core.system.files import write_text

_WORDS = {
    "Value error, ": "",
    "Input should": "must",
    "a valid array": "a list",
    "an object": "a section",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid boolean": "true or false",
    "a valid string": "text",
}


def load_params(file: Path) -> Params:
    """Read and check a configuration.

    Raises:
        InputError: the file is missing, is no YAML, or a key is unknown, missing or out of range; names
            the line and the key.
    """
    return checked(file, read_tree(file))


def load_template_section(file: Path) -> Template:
    """Read the template of a configuration that another version of this program may have written.

    Raises:
        InputError: the file has no valid template.
    """
    try:
        return Template.model_validate_json(json.dumps(read_tree(file).get("template")))
    except ValidationError as error:
        raise InputError(file, _plain(error.errors()[0]["msg"]), field="template") from None


def set_params(file: Path, assignments: Sequence[str], *, write: bool = True) -> Params:
    """Apply `key.path=value` assignments (values in YAML) to the file, all or none.

    `algorithm=NAME` writes the whole section with that algorithm's default settings.

    Args:
        file: the configuration.
        assignments: applied in order.
        write: change the file; else only return what it would become.

    Raises:
        InputError: an assignment is malformed or leaves the configuration invalid; the file is unchanged.
    """
    tree = read_tree(file)
    assigned = [assign(file, tree, assignment) for assignment in assignments]
    params = checked(file, tree, assigned=assigned)
    if write and assignments:
        write_text(file, dump(tree))
    return params


def changed_keys(file: Path, assignments: Sequence[str]) -> list[str]:
    """Each key that the assignments change, as `key: old -> new`; the file stays as it is.

    Raises:
        InputError: as `set_params` does.
    """
    tree = read_tree(file)
    before = _flat(tree)
    for assignment in assignments:
        assign(file, tree, assignment)
    after = _flat(tree)
    return [
        f"{key}: {before.get(key, '(absent)')} -> {after.get(key, '(absent)')}"
        for key in (after | before)
        if before.get(key) != after.get(key)
    ]


def _flat(tree: Any, prefix: str = "") -> dict[str, str]:
    """Keys with their sections, and values as JSON."""
    flat: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value, default=repr, ensure_ascii=False)
    return flat


def dump(tree: Any) -> str:
    """The text of a file that was read by `read_tree`."""
    buffer = io.StringIO()
    _yaml().dump(tree, buffer)
    return buffer.getvalue()


def _yaml() -> YAML:
    yaml = YAML()
    yaml.width = 120
    yaml.preserve_quotes = True
    # None is written as null, as people write it.
    yaml.representer.add_representer(
        type(None), lambda dumper, _: dumper.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return yaml


def read_tree(file: Path) -> Any:
    """The sections of a file, with comments and layout, not yet checked.

    Raises:
        InputError: the file is missing, is no YAML, or holds no sections.
    """
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


def assign(file: Path, tree: Any, assignment: str) -> str:
    """Apply one `key.path=value` to a tree of `read_tree`; the key that was changed.

    Raises:
        InputError: it is malformed.
    """
    key, equals, text = assignment.partition("=")
    if not equals or not key:
        raise InputError(file, f"--set {assignment!r} is not of the form key=value")
    *sections, last = key.split(".")
    node = tree
    for section in sections:
        if section == "verifier" and isinstance(node.get(section), list):
            raise InputError(file, "is a list of verifiers here: change it in the file", field=key)
        node = node.get(section) if isinstance(node, dict) else None
    if not isinstance(node, dict):
        raise InputError(file, unknown_key(key), field=key)
    try:
        value = _yaml().load(text)
    except YAMLError:
        raise InputError(file, f"{text!r} is not YAML", field=key) from None
    if key == "algorithm" and isinstance(value, str):
        value = section_in_place_of(node.get(last), _defaults(file, value))
    if key == "verifier":
        value = list_in_place_of(node.get(last), value)
    node[last] = value
    return key


def _defaults(file: Path, name: str) -> dict[str, Any]:
    if name not in DEFAULTS:
        raise InputError(file, f"must be one of {', '.join(DEFAULTS)}, found {name!r}", field="algorithm")
    return dict(DEFAULTS[name])


def section_in_place_of(before: Any, section: dict[str, Any]) -> CommentedMap:
    """A section with the lines that follow `before` in the file, which hang on the last key of `before`."""
    made = CommentedMap(section)
    comments = before.ca.items.get(list(before)[-1]) if isinstance(before, CommentedMap) and before else None
    if comments is not None and comments[2] is not None:
        _, newline, after = comments[2].value.partition("\n")
        token = CommentToken(newline + after, comments[2].start_mark)
        made.ca.items[list(made)[-1]] = [None, None, token, None]
    return made


def checked(file: Path, tree: Any, *, assigned: Sequence[str] = (), lines: Any = None) -> Params:
    """Parameters of a tree.

    Args:
        file: named in errors.
        tree: of `read_tree`, changed or not.
        assigned: keys whose values are not those of the file: errors name no line for them.
        lines: the tree in which lines are looked up; by default `tree`.

    Raises:
        InputError: as `load_params` does.
    """
    # A date, set or tag fits no key: as a mapping it is refused at the key that holds it.
    listed = {**tree, "verifier": as_list(tree["verifier"])} if "verifier" in tree else tree
    text = json.dumps(listed, default=lambda value: {"not plain YAML": repr(value)})
    try:
        return Params.model_validate_json(text)
    except ValidationError as error:
        raise _refusal(file, tree if lines is None else lines, assigned, error) from None


def _refusal(file: Path, tree: Any, assigned: Sequence[str], error: ValidationError) -> InputError:
    errors = error.errors()
    unknown = [problem for problem in errors if problem["type"] == "extra_forbidden"]
    removed = [key for problem in unknown if (key := _key_of(problem["loc"])) in REMOVED]
    if len(removed) > 1:
        return _refused_version(file, tree, removed)
    # A misspelt key is unknown, and the one that was meant is missing: what is unknown says more.
    first = (unknown or errors)[0]
    location = [part for part in first["loc"] if isinstance(part, str)]
    problem = _plain(first["msg"])
    named = location[1:2] if location[:1] == ["algorithm"] else []
    if named:  # pydantic names the algorithm whose key it is
        del location[1]
    if first["type"] == "extra_forbidden":
        problem = unknown_key(".".join(location), *named)
    elif first["type"] == "missing":
        problem = "missing parameter" + (f"; algorithm={named[0]} writes them all" if named else "")
    elif first["type"].startswith("union_tag"):
        location.append("name")
        problem = f"must be one of {', '.join(DEFAULTS)}, found {first.get('ctx', {}).get('tag')!r}"
    elif not isinstance(first["input"], dict):
        problem += f", found {first['input']!r}"
    field = ".".join(location)
    # The value that was refused is not the one on that line.
    row = None if field in assigned else _line(tree, location)
    return InputError(file, problem, row=row, field=field or None)


def _plain(message: str) -> str:
    """What pydantic says, in the words of YAML rather than JSON."""
    for theirs, ours in _WORDS.items():
        message = message.replace(theirs, ours)
    return message


def _refused_version(file: Path, tree: Any, removed: list[str]) -> InputError:
    """One line for all keys that an earlier version had."""
    places = [f"{key} (line {_line(tree, key.split('.'))}): {REMOVED[key]}" for key in removed]
    return InputError(file, f"was written for an earlier version: {'; '.join(places)}")


def _key_of(location: tuple[str | int, ...]) -> str:
    parts = [part for part in location if isinstance(part, str)]
    if parts[:1] == ["algorithm"]:
        del parts[1:2]  # the algorithm's name, which pydantic puts there
    return ".".join(parts)


def _line(node: Any, location: list[str]) -> int | None:
    """The line of the innermost key on the path that the file has, counted from 1."""
    line = None
    for key in location:
        if not isinstance(node, CommentedMap) or key not in (node.lc.data or {}):
            break
        line = node.lc.key(key)[0] + 1
        node = node[key]
    return line
