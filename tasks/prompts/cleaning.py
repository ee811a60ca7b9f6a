"""Which of the prompts that were read may not be used, and why: masks over the pool."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from apo_core.data.contamination import EvaluationIndex
from apo_core.data.pool import Mask, Pool, first_of_each
from apo_core.errors import ApoError, InputError
from apo_core.system.files import write_json

Policy = Literal["refuse", "drop"]
_LISTED = 1000  # pairs in a report
_SHOWN = 3  # pairs in a log
_TEXT = 400  # characters


class Contaminated(ApoError):
    """Training prompts give evaluation prompts away; the report lists the pairs, the text names the first."""


def duplicates_in(pool: Pool, policy: Policy) -> tuple[Mask, int]:
    """All but the first prompt of each normal form in each split; and how many of them differ in nothing.

    Raises:
        InputError: there are such prompts, and they are refused.
    """
    repeated = alike = np.zeros_like(pool.evaluation)
    for split in (pool.evaluation, ~pool.evaluation):
        repeated = repeated | (split & ~first_of_each(pool.ids, split))
        alike = alike | (split & ~first_of_each(pool.forms, split))
    if policy == "refuse" and alike.any():
        raise _duplicate(pool, alike)
    return alike, int(repeated.sum())


def _duplicate(pool: Pool, alike: Mask) -> InputError:
    """The first duplicate beside what it duplicates."""
    others = np.flatnonzero(alike)
    second = others[0]
    same = (pool.forms == pool.forms[second]) & (pool.evaluation == pool.evaluation[second])
    first = np.flatnonzero(same)[0]
    chosen = np.zeros_like(alike)
    chosen[[first, second]] = True
    (_, original), (_, source) = pool.rows(chosen, "source")
    how = "" if pool.ids[first] == pool.ids[second] else " but for case, punctuation and white space"
    more = f" ({others.size - 1} more rows are such)" if others.size > 1 else ""
    return InputError(
        source,
        f"is a duplicate of {original}{how}{more}; data.duplicates: drop leaves it out",
        field="prompt",
    )


class LongPrompts:
    """Finds the prompts that have more tokens than a limit; none where they are not counted."""

    def __init__(self, pool: Pool, count_tokens: Callable[[str], int] | None, limit: int) -> None:
        self._pool, self._count_tokens, self._limit = pool, count_tokens, limit
        self.found = np.zeros_like(pool.evaluation)

    def __call__(self, asked: Mask) -> Mask:
        """Those of the prompts asked about."""
        if self._count_tokens is None:
            return self.found
        for position, prompt in self._pool.rows(asked, "prompt"):
            self.found[position] = self._count_tokens(prompt) > self._limit
        return self.found & asked


class ContaminatedPrompts:
    """Finds the training prompts that give an evaluation prompt away, and reports the pairs.

    The evaluation prompts are indexed; training prompts stream past.
    """

    def __init__(self, pool: Pool, evaluation: Mask, policy: Policy, report: Path) -> None:
        self._pool, self._policy, self._report = pool, policy, report
        self._held_out = list(pool.rows(evaluation, "source", "set", "prompt"))
        self._index = EvaluationIndex([prompt for *_, prompt in self._held_out])
        self._listed: list[dict[str, str]] = []
        self._pairs = self._checked = 0
        self.found = np.zeros_like(evaluation)

    def __call__(self, asked: Mask) -> Mask:
        """Those of the training prompts asked about; writes the report.

        Raises:
            Contaminated: there are such prompts, and they are refused.
        """
        for position, source, prompt in self._pool.rows(asked, "source", "prompt"):
            for match in self._index.matches(prompt):
                held_out = self._held_out[match.evaluation]
                if not _of_one_generator(source, held_out[1]):
                    self.found[position] = True
                    self._note(_pair(source, prompt, held_out, match.why))
        self._checked += int(asked.sum())
        self.write_report()
        if self._pairs and self._policy == "refuse":
            more = f" and {self._pairs - 1} more pairs" if self._pairs > 1 else ""
            where = f"all in {self._report}; data.contamination: drop leaves such prompts out"
            raise Contaminated(f"{_line(self._listed[0])}{more} ({where})")
        return self.found & asked

    def write_report(self) -> None:
        """What was found so far."""
        counts = {
            "training_prompts": self._checked,
            "evaluation_prompts": len(self._held_out),
            "contaminated": int(self.found.sum()),
            "pairs": self._pairs,
        }
        write_json(self._report, counts | {"listed": self._listed})

    def _note(self, pair: dict[str, str]) -> None:
        self._pairs += 1
        if self._pairs <= _SHOWN:
            print(f"contamination: {_line(pair)}", flush=True)
        if self._pairs <= _LISTED:
            self._listed.append(pair)


def _of_one_generator(first: str, second: str) -> bool:
    """A generated task's own streams cannot overlap, and its questions are alike by design."""
    task = first.rpartition(":")[0]
    return task == second.rpartition(":")[0] and task.startswith("reasoning_gym:")


def _pair(source: str, prompt: str, evaluation: tuple[Any, ...], why: str) -> dict[str, str]:
    _, their_source, their_set, their_prompt = evaluation
    return {
        "training": source,
        "evaluation": their_source,
        "set": their_set,
        "why": why,
        "training_prompt": prompt[:_TEXT],
        "evaluation_prompt": their_prompt[:_TEXT],
    }


def _line(pair: dict[str, str]) -> str:
    return f"{pair['training']}: prompt: gives {pair['evaluation']} of set {pair['set']} away: {pair['why']}"
