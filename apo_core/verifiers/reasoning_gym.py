"""Verifier of reasoning-gym tasks, each scored by the task's own function."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from apo_core.errors import ApoError
from apo_core.verifiers.base import Verdict, shortened
from apo_core.verifiers.extraction import Rule, extract, nothing

_TUPLES = {"arc_agi", "rearc"}  # tasks that compare grids with tuples, which JSON turns into lists


class ReasoningGymVerifier:
    """Verifier whose reward is that of the task's own `score_answer`, partial credit included.

    The source row must be an entry of the task: `question`, `answer` and `metadata`.
    """

    bounded = False
    reads_row = True

    def __init__(self, task: str, rules: tuple[Rule, ...]) -> None:
        """Name the verifier after its task and find the installed version.

        Raises:
            ApoError: reasoning-gym is not installed.
        """
        self.task, self.rules = task, rules
        self.name = f"reasoning_gym:{task}"
        try:
            self.version = f"1+reasoning-gym-{version('reasoning-gym')}:{','.join(rules)}"
        except PackageNotFoundError:
            raise ApoError(
                f"verifier.name: {self.name}: reasoning-gym is not installed: "
                "pip install -e '.[reasoning-gym]' in its checkout"
            ) from None
        self._score: Callable[[str, dict[str, Any]], float] | None = None

    def load(self) -> None:
        """See `Verifier`.

        Raises:
            ApoError: there is no such task.
        """
        from reasoning_gym.factory import DATASETS, get_score_answer_fn

        if self.task not in DATASETS:
            raise ApoError(f"verifier.name: reasoning-gym has no task {self.task!r}")
        self._score = get_score_answer_fn(self.task)

    def answer_problem(self, answer: str, row: dict[str, Any]) -> str | None:
        """See `Verifier`; an entry without an answer (the task has many right ones) is fine."""
        if not isinstance(row.get("metadata"), dict) or "answer" not in row:
            return "is not that of an entry of reasoning-gym: its row has no answer and metadata"
        if not isinstance(row["answer"], str):
            return None
        reward = self._reward(row["answer"], row)
        return None if reward == 1.0 else f"is given {reward:g} by the task itself"

    def score(self, completion: str, answer: str, row: dict[str, Any]) -> Verdict:
        """See `Verifier`."""
        extracted = extract(completion, self.rules)
        if extracted is None:
            return nothing(self.rules)
        reward = self._reward(extracted.text, row)
        return Verdict(
            reward, extracted.text, f"{self.task} gives {reward:g} for {shortened(extracted.text)}"
        )

    def _reward(self, text: str, row: dict[str, Any]) -> float:
        assert self._score is not None, "load() comes first"
        entry = {**row, "metadata": _as_tuples(row["metadata"])} if self.task in _TUPLES else row
        return float(self._score(text, entry))


def _as_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_tuples(item) for key, item in value.items()}
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value
