"""Find duplicate, overlong and contaminated prompts: masks over the pool of prompts that were read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from apo_core.data.contamination import EvaluationIndex
from apo_core.data.messages import text_of_turns
from apo_core.data.pool import Mask, Pool, first_of_each
from apo_core.errors import ApoError, InputError
from apo_core.system.files import write_json

Policy = Literal["refuse", "drop"]
_LISTED_PAIRS = 1000  # in the report
_LOGGED_PAIRS = 3
_TEXT_LENGTH = 400  # characters of a prompt in the report


class Contaminated(ApoError):
    """Training prompts contain evaluation prompts; the report lists all pairs, the message one."""


def duplicates_in(pool: Pool, policy: Policy) -> tuple[Mask, int]:
    """All but the first prompt of each normal form in each split, and the number of exact repetitions.

    Raises:
        InputError: there are duplicates, and the policy refuses them.
    """
    repeated = alike = np.zeros_like(pool.evaluation)
    for split in (pool.evaluation, ~pool.evaluation):
        repeated = repeated | (split & ~first_of_each(pool.ids, split))
        alike = alike | (split & ~first_of_each(pool.forms, split))
    if policy == "refuse" and alike.any():
        raise _duplicate_error(pool, alike)
    return alike, int(repeated.sum())


def _duplicate_error(pool: Pool, alike: Mask) -> InputError:
    """Name the first duplicate and the prompt that it duplicates."""
    others = np.flatnonzero(alike)
    second = others[0]
    same = (pool.forms == pool.forms[second]) & (pool.evaluation == pool.evaluation[second])
    first = np.flatnonzero(same)[0]
    chosen = np.zeros_like(alike)
    chosen[[first, second]] = True
    (_, original), (_, source) = pool.rows(chosen, "source")
    how = "" if pool.ids[first] == pool.ids[second] else " except for case, punctuation and white space"
    more = f" (and {others.size - 1} more)" if others.size > 1 else ""
    return InputError(
        source,
        f"is a duplicate of {original}{how}{more}; data.duplicates: drop leaves it out",
        field="prompt",
    )


class LongPrompts:
    """Finds the prompts that have more tokens than a limit; without a token counter, none."""

    def __init__(self, pool: Pool, count_tokens: Callable[[str], int] | None, limit: int) -> None:
        self._pool, self._count_tokens, self._limit = pool, count_tokens, limit
        self.mask = np.zeros_like(pool.evaluation)
        """The long prompts among all that were checked so far."""

    def __call__(self, candidates: Mask) -> Mask:
        """The long prompts among the candidates."""
        if self._count_tokens is None:
            return self.mask
        for position, source, prompt in self._pool.rows(candidates, "source", "prompt"):
            try:
                self.mask[position] = self._count_tokens(prompt) > self._limit
            except ApoError as error:
                raise InputError(source, str(error), field="prompt") from None
        return self.mask & candidates


class ContaminatedPrompts:
    """Finds the training prompts that contain an evaluation prompt, and reports the pairs.

    The evaluation prompts are indexed; training prompts stream past.
    """

    def __init__(self, pool: Pool, evaluation: Mask, policy: Policy, report: Path) -> None:
        self._pool, self._policy, self._report = pool, policy, report
        self._held_out = [
            (position, source, name, _question(prompt))
            for position, source, name, prompt in pool.rows(evaluation, "source", "set", "prompt")
        ]
        self._index = EvaluationIndex([prompt for *_, prompt in self._held_out])
        self._listed: list[dict[str, str]] = []
        self._pairs = self._checked = 0
        self.mask = np.zeros_like(evaluation)
        """The contaminated prompts among all that were checked so far."""

    def __call__(self, candidates: Mask) -> Mask:
        """The contaminated prompts among the candidates; writes the report.

        Raises:
            Contaminated: there are contaminated prompts, and the policy refuses them.
        """
        for position, source, turns in self._pool.rows(candidates, "source", "prompt"):
            prompt = _question(turns)
            for match in self._index.matches(prompt):
                held_out = self._held_out[match.evaluation]
                if not _of_one_generator(source, held_out[1]):
                    self.mask[position] = True
                    self._add_pair(_pair(source, prompt, held_out, match.why))
        self._checked += int(candidates.sum())
        self.write_report()
        if self._pairs and self._policy == "refuse":
            more = f" and {self._pairs - 1} more pairs" if self._pairs > 1 else ""
            where = f"all in {self._report}; data.contamination: drop leaves such prompts out"
            raise Contaminated(f"{_line(self._listed[0])}{more} ({where})")
        return self.mask & candidates

    def write_report(self) -> None:
        """Write the counts and the first pairs of all prompts that were checked so far."""
        counts = {
            "training_prompts": self._checked,
            "evaluation_prompts": len(self._held_out),
            "contaminated": int(self.mask.sum()),
            "pairs": self._pairs,
        }
        write_json(self._report, counts | {"listed": self._listed})

    def _add_pair(self, pair: dict[str, str]) -> None:
        self._pairs += 1
        if self._pairs <= _LOGGED_PAIRS:
            print(f"contamination: {_line(pair)}", flush=True)
        if self._pairs <= _LISTED_PAIRS:
            self._listed.append(pair)


def _question(prompt: str) -> str:
    """What is asked: a system turn that many prompts begin with is no part of it."""
    return text_of_turns(prompt, system=False)


def _of_one_generator(first: str, second: str) -> bool:
    """Whether both come from one generated task: its streams cannot overlap, its questions are alike."""
    task = first.rpartition(":")[0]
    return task == second.rpartition(":")[0] and task.startswith("reasoning_gym:")


def _pair(source: str, prompt: str, evaluation: tuple[Any, ...], why: str) -> dict[str, str]:
    _, held_out_source, held_out_set, held_out_prompt = evaluation
    return {
        "training": source,
        "evaluation": held_out_source,
        "set": held_out_set,
        "why": why,
        "training_prompt": prompt[:_TEXT_LENGTH],
        "evaluation_prompt": held_out_prompt[:_TEXT_LENGTH],
    }


def _line(pair: dict[str, str]) -> str:
    return f"{pair['training']}: prompt: gives {pair['evaluation']} of set {pair['set']} away: {pair['why']}"
