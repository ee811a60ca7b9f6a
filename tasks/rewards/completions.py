"""A file of completions, each with the prompt that it answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from apo_core.data.prompts import Prompt
from apo_core.data.readers import rows_of
from apo_core.errors import InputError

_TEXTS = ("completion", "response", "text")  # the field of a completion: the first of them that a row has


class Completion(NamedTuple):
    """A completion to score."""

    prompt: Prompt
    text: str
    reward: float | None  # what it is expected to get, if the file says so


def read_completions(file: Path, prompts: Sequence[Prompt], prompt_field: str) -> list[Completion]:
    """Read completions; a row has `completion`, `prompt_id` or the prompt, and perhaps the `reward` expected.

    Args:
        file: of any format that prompts may have; the samples table of a run is one.
        prompts: of the configuration.
        prompt_field: the field that holds a prompt, `data.prompt_field`.

    Raises:
        InputError: a row has no completion, or is of no prompt; names file, row and field.
    """
    by_id = {prompt.prompt_id: prompt for prompt in prompts}
    by_text = {prompt.prompt: prompt for prompt in prompts}
    completions = []
    for path, number, row in rows_of(file):
        prompt = by_id.get(str(row.get("prompt_id"))) or by_text.get(str(row.get(prompt_field)))
        if prompt is None:
            field = "prompt_id" if "prompt_id" in row else prompt_field
            problem = (
                "is none of the configured prompts" if field in row else "is missing, and so is prompt_id"
            )
            raise InputError(path, problem, row=number, field=field)
        completions.append(Completion(prompt, _text(path, number, row), _reward(path, number, row)))
    return completions


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
