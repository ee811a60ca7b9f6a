"""Rewards of several verifiers: those that fit a prompt, each with its weight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from apo_core.verifiers.base import Attempt, Verdict
from apo_core.verifiers.scorer import Scorer

OVERLONG = "overlong"  # the name of its part beside those of verifiers


@dataclass(frozen=True, kw_only=True)
class Part:
    """A verifier with the prompts that it is for and its weight."""

    name: str
    scorer: Scorer
    fits: Callable[[str, str | None], bool]
    """Whether a prompt of that set and group is scored by it."""
    weight: float
    overlong: tuple[int, float] | None
    """Last tokens that cost something, and what the last of them costs; see `overlong_penalty`."""


class CombinedScorer:
    """Scorer of prompts that have verifiers of their own, or several.

    The reward is the mean of the verifiers that fit the prompt, each with its weight. A response on which
    one of them fails is an error row.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        """Take the parts; the answer that is read is that of the first that fits.

        Of parts with one name the second is called `NAME 2`, and so on, whichever of them a prompt has.
        """
        names = numbered([part.name for part in parts])
        self.parts = [replace(part, name=name) for part, name in zip(parts, names, strict=True)]

    def check(self) -> None:
        """See `Scorer`."""
        for part in self.parts:
            part.scorer.check()

    def score(self, attempts: list[Attempt]) -> list[Verdict]:
        """See `Scorer`."""
        verdicts: list[list[tuple[Part, Verdict]]] = [[] for _ in attempts]
        for part in self.parts:
            rows = self._rows_of(part, attempts)
            for row, verdict in zip(rows, part.scorer.score([attempts[row] for row in rows]), strict=True):
                verdicts[row].append((part, verdict))
        return [_combined(attempt, scored) for attempt, scored in zip(attempts, verdicts, strict=True)]

    def answer_problems(self, attempts: list[Attempt]) -> list[str | None]:
        """See `Scorer`; a prompt that no verifier fits has a problem, too."""
        problems: list[list[str | None]] = [[] for _ in attempts]
        for part in self.parts:
            rows = self._rows_of(part, attempts)
            for row, problem in zip(
                rows, part.scorer.answer_problems([attempts[row] for row in rows]), strict=True
            ):
                problems[row].append(f"{problem} (verifier {part.name})" if problem else None)
        return [
            next(filter(None, of_row), None) if of_row else _unfit(attempt)
            for attempt, of_row in zip(attempts, problems, strict=True)
        ]

    def _rows_of(self, part: Part, attempts: list[Attempt]) -> list[int]:
        return [row for row, attempt in enumerate(attempts) if part.fits(attempt.set_name, attempt.group)]


def numbered(names: Sequence[str]) -> list[str]:
    """Names that differ: of those that are alike the second becomes `NAME 2`, the third `NAME 3`."""
    seen: Counter[str] = Counter()
    distinct = []
    for name in names:
        seen[name] += 1
        distinct.append(name if seen[name] == 1 else f"{name} {seen[name]}")
    return distinct


def overlong_penalty(tokens: int, max_tokens: int, buffer_tokens: int, penalty: float) -> float:
    """What a response loses for its length, from 0 to `penalty` (DAPO, arXiv 2503.14476, equation 13).

    Args:
        tokens: of the response.
        max_tokens: where responses are cut off.
        buffer_tokens: the last tokens before that, which cost in proportion.
        penalty: what all of them cost.
    """
    excess = tokens - (max_tokens - buffer_tokens)
    return penalty * min(1.0, max(0.0, excess / buffer_tokens))


def mean_parts(responses: Sequence[dict[str, float] | None]) -> dict[str, float]:
    """The mean of each part of the rewards over the responses that have it, as `reward_of_NAME`."""
    of_name: dict[str, list[float]] = {}
    for parts in filter(None, responses):
        for name, reward in parts.items():
            of_name.setdefault(f"reward_of_{name}", []).append(reward)
    return {name: fmean(of_name[name]) for name in sorted(of_name)}


def _combined(attempt: Attempt, scored: list[tuple[Part, Verdict]]) -> Verdict:
    if not scored:
        return Verdict(None, None, f"error: {_unfit(attempt)}")
    parts: dict[str, float] = {}
    reasons: list[str] = []
    total = 0.0
    for part, verdict in scored:
        if verdict.reward is None:
            return verdict
        lost = _lost(part, attempt)
        total += part.weight * max(0.0, verdict.reward - lost)
        parts[part.name] = verdict.reward
        if part.overlong is not None:
            parts[OVERLONG] = min(parts.get(OVERLONG, 0.0), -lost)
        times = f"{part.weight:g} x {verdict.reward:g} ({part.name}): " if len(scored) > 1 else ""
        less = f", less {lost:g} for {attempt.tokens} of {attempt.max_tokens} tokens" if lost else ""
        reasons.append(f"{times}{verdict.reason}{less}")
    weights = sum(part.weight for part, _ in scored)
    return Verdict(total / weights, scored[0][1].extracted, "; ".join(reasons), parts)


def _lost(part: Part, attempt: Attempt) -> float:
    if part.overlong is None:
        return 0.0
    return overlong_penalty(attempt.tokens, attempt.max_tokens, *part.overlong)


def _unfit(attempt: Attempt) -> str:
    group = "" if attempt.group is None else f", group {attempt.group}"
    return f"no verifier is for set {attempt.set_name}{group}: see verifier.when"
