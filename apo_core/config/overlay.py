"""Presets: a configuration that holds only what differs from a whole one, and that one with it laid over."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.tokens import CommentToken

from apo_core.config.file import assign, checked, dump, read_tree, section_in_place_of
from apo_core.config.params import Params
from apo_core.config.verifier import list_in_place_of
from apo_core.errors import InputError


def description_of(file: Path) -> str:
    """What a preset is: its first line, a comment.

    Raises:
        InputError: the first line is no comment.
    """
    first = file.read_text(encoding="utf-8").partition("\n")[0]
    if not first.startswith("# "):
        raise InputError(file, "its first line must say in a comment what the preset is", row=1)
    return first.removeprefix("# ")


def load_overlay(base: Path, file: Path, assignments: Sequence[str] = ()) -> Params:
    """Read and check a configuration; keys that the file leaves out are those of the base.

    Args:
        base: a whole configuration.
        file: laid over it.
        assignments: `key.path=value`, applied last; the files stay as they are.

    Raises:
        InputError: as `set_params` does; the line is that of the file.
    """
    params, tree = _resolve(base, file)
    if not assignments:
        return params
    return checked(file, tree, assigned=[assign(file, tree, assignment) for assignment in assignments])


def resolve_overlay(base: Path, file: Path) -> str:
    """The text of the whole configuration: the base with its comments, and the file's values and comments.

    Raises:
        InputError: as `load_overlay` does.
    """
    return dump(_resolve(base, file)[1])


def _resolve(base: Path, file: Path) -> tuple[Params, CommentedMap]:
    tree, changes = read_tree(base), read_tree(file)
    if file != base:
        _lay_over(tree, changes)
        if changes.ca.comment is not None:  # what the file says of itself, before its first key
            tree.ca.comment = changes.ca.comment
    return checked(file, tree, lines=changes), tree


def _lay_over(tree: CommentedMap, changes: CommentedMap) -> None:
    for key, value in changes.items():
        before = tree.get(key)
        if (
            key == "algorithm"
            and isinstance(value, dict)
            and value.get("name", before["name"]) != before["name"]
        ):
            tree[key] = section_in_place_of(before, dict(value))  # another algorithm has other keys
        elif isinstance(before, CommentedMap) and isinstance(value, CommentedMap):
            _lay_over(before, value)
        else:
            tree[key] = list_in_place_of(before, value) if key == "verifier" else value
            _replace_comment(tree, changes, key)


def _replace_comment(tree: CommentedMap, changes: CommentedMap, key: str) -> None:
    """Take over the comment beside a key; the lines after it hang on the same token of the tree, and stay."""
    theirs, ours = _comment_token(changes, key), _comment_token(tree, key)
    comment = theirs.value.partition("\n")[0] if theirs is not None else ""
    if theirs is None or not comment:
        return
    later_lines = ours.value.partition("\n")[2] if ours is not None else ""
    position = (ours or theirs).start_mark
    tree.ca.items.setdefault(key, [None, None, None, None])[2] = CommentToken(
        f"{comment}\n{later_lines}", position
    )


def _comment_token(tree: CommentedMap, key: str) -> CommentToken | None:
    return tree.ca.items[key][2] if key in tree.ca.items else None
