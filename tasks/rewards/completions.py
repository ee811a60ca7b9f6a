"""A file of completions, each with the prompt that it answers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from apo_core.data.prompts import Prompt, has_field, prompt_id, prompt_text
from apo_core.data.readers import rows_of
from apo_core.errors import InputError
from apo_core.verifiers import Attempt, attempt_at

_TEXTS = ("completion", "response", "text")  # the field of a completion: the first of them that a row has
_ID = "prompt_id"


class Row(NamedTuple):
    """A completion as the file has it, before its prompt is known."""

    file: Path
    number: int
    field: str
    """The field that names the prompt."""
    prompt_ids: tuple[str, ...]
    """The prompt's: what the field says, and what follows from the prompt in the row."""
    text: str
    reward: float | None
    """What it is expected to get, if the file says so."""
    tokens: int | None
    """Of the response, if the file has its token ids."""


class Completion(NamedTuple):
    """A completion to score."""

    prompt: Prompt
    row: Row

    @property
    def source(self) -> str:
        """File and line."""
        return f"{self.row.file.name}:{self.row.number}"

    def attempt(self, max_tokens: int) -> Attempt:
        """The completion, to be scored; `max_tokens` is where responses are cut off."""
        return attempt_at(self.prompt, self.row.text, self.row.tokens or 0, max_tokens)


def read_rows(file: Path, prompt_field: str) -> list[Row]:
    """Read completions.

    A row has `completion`, `prompt_id` or the prompt, and perhaps the `reward` expected and `token_ids`.

    Args:
        file: of any format that prompts may have; the samples table of a run is one.
        prompt_field: the field that holds a prompt, `data.prompt_field`.

    Raises:
        InputError: a row has no completion, or none that names a prompt; names file, row and field.
    """
    return [_row(path, number, row, prompt_field) for path, number, row in rows_of(file)]


def matched(rows: Iterable[Row], prompts: Mapping[str, Prompt]) -> list[Completion]:
    """Find the prompt of every completion.

    Args:
        rows: of the file.
        prompts: the configured ones, by id; those that no row asks for may be absent.

    Raises:
        InputError: a completion's prompt is none of them; names file, row and field.
    """
    completions = []
    for row in rows:
        prompt = next((prompts[key] for key in row.prompt_ids if key in prompts), None)
        if prompt is None:
            problem = "is none of the configured prompts"
            raise InputError(row.file, problem, row=row.number, field=row.field)
        completions.append(Completion(prompt, row))
    return completions


def _row(file: Path, number: int, row: Mapping[str, object], prompt_field: str) -> Row:
    has_id = row.get(_ID) is not None
    ids = [str(row[_ID])] if has_id else []
    if has_field(row, prompt_field):
        ids.append(prompt_id(prompt_text(file, number, row, prompt_field)))
    if not ids:
        raise InputError(file, "is missing, and so is prompt_id", row=number, field=prompt_field)
    field = _ID if has_id else prompt_field
    return Row(
        file, number, field, tuple(ids), _text(file, number, row), _reward(file, number, row), _tokens(row)
    )


def _text(file: Path, number: int, row: Mapping[str, object]) -> str:
    name = next((name for name in _TEXTS if name in row), None)
    if name is None:
        raise InputError(file, f"has none of {', '.join(_TEXTS)}", row=number)
    text = row[name]
    if not isinstance(text, str):
        raise InputError(file, f"must be text, found {text!r:.40}", row=number, field=name)
    return text


def _reward(file: Path, number: int, row: Mapping[str, object]) -> float | None:
    reward = row.get("reward")
    if reward is None or (isinstance(reward, float) and math.isnan(reward)):  # the verifier failed
        return None
    if not isinstance(reward, int | float) or not 0 <= reward <= 1:
        raise InputError(
            file, f"must be a number from 0 to 1, found {reward!r:.40}", row=number, field="reward"
        )
    return float(reward)


def _tokens(row: Mapping[str, object]) -> int | None:
    token_ids = row.get("token_ids")
    return len(token_ids) if isinstance(token_ids, list) else None
