"""A dry run of each verifier: golds against themselves and their neighbours, and how long scores take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from apo_core import config
from apo_core.data.prompts import Prompt
from apo_core.system.processes import cores
from apo_core.verifiers import Attempt, Scorer, Verdict, attempt_at, open_scorer
from apo_core.verifiers.base import GIVEN_UP
from apo_core.verifiers.combined import numbered
from apo_core.verifiers.golds import gold_completion
from apo_core.verifiers.timed import SECONDS, Timed
from tasks.responses.scoring import verifiers_of
from tasks.rewards.completions import Completion
from tasks.rewards.outcome import FAILED, MAX_ERRORS, Count, Doubts, was_given_up

if TYPE_CHECKING:
    from apo_core.model.template import Template  # with transformers, which takes seconds


@dataclass
class DryRun:
    """What one verifier makes of its prompts."""

    name: str
    prompts: int
    refused: int = 0
    golds: Count = field(default_factory=Count)
    """Each gold answer, written as a completion, against itself: every reward should be 1."""
    neighbours: Count = field(default_factory=Count)
    """The next prompt's gold answer: a reward is one for guessing."""
    completions: Count = field(default_factory=Count)
    """What this verifier says of completions; their rewards may be of several."""
    slowest: tuple[float, str] = (0.0, "")
    """Seconds of the slowest score, and its source."""
    doubts: Doubts = field(default_factory=Doubts)
    checks_stopped: bool = False
    """Whether the verifier failed on too many golds that it was asked about."""

    @property
    def good(self) -> bool:
        """Whether every gold answer is read and right against itself, and nothing failed."""
        all_right = self.golds.right == self.golds.scored
        return all_right and not (self.refused or self.errors or self.stopped)

    @property
    def gold_errors(self) -> int:
        """How many golds the verifier failed on; those of a few failed checks are refused instead."""
        return self.golds.errors + (MAX_ERRORS if self.checks_stopped else 0)

    @property
    def errors(self) -> int:
        """How often the verifier failed."""
        return self.gold_errors + self.neighbours.errors + self.completions.errors

    @property
    def stopped(self) -> bool:
        """Whether it failed too often to go on."""
        counts = self.golds, self.neighbours, self.completions
        return self.checks_stopped or any(count.stopped for count in counts)


_Row = tuple[Attempt, str]  # with its source


def dry_run(
    verifiers: config.Verifiers,
    directory: Path,
    prompts: Sequence[Prompt],
    completions: Sequence[Completion],
    prompt_template: Template | None = None,
) -> list[DryRun]:
    """Score golds and completions with every verifier, on the prompts that it is for.

    Args:
        verifiers: the configuration.
        directory: the user's own verifier modules.
        prompts: whose golds are scored.
        completions: with the prompts that they answer.
        prompt_template: of the completions.

    Raises:
        ApoError: a verifier cannot be loaded.
    """
    rules = verifiers_of(verifiers, directory), verifiers_of(verifiers, directory, prompt_template)
    names = numbered([verifier.name for verifier in verifiers])
    outcomes = []
    for name, verifier, rule, rule_of_responses in zip(names, verifiers, *rules, strict=True):
        fits = (verifier.when or config.When()).fits
        own = [prompt for prompt in prompts if fits(prompt.set, prompt.group)]
        outcome = DryRun(name, len(own))
        with _open(verifier, Timed(rule)) as scorer:
            scorer.check()
            _score_golds(outcome, scorer, verifier, _check_golds(outcome, scorer, own))
        answers = [answer for answer in completions if fits(answer.prompt.set, answer.prompt.group)]
        if answers:
            with _open(verifier, Timed(rule_of_responses)) as scorer:
                rows = [(answer.attempt(0), answer.source) for answer in answers]
                _score(outcome, scorer, rows, outcome.completions, "a completion")
        outcomes.append(outcome)
    return outcomes


def _open(verifier: config.Verifier, rule: Timed) -> AbstractContextManager[Scorer]:
    return open_scorer(
        rule,
        workers=verifier.processes(cores()),
        time_limit_seconds=verifier.time_limit_seconds,
        memory_limit_mib=verifier.memory_limit_mib,
        max_errors=MAX_ERRORS - 1,
    )


def _check_golds(outcome: DryRun, scorer: Scorer, prompts: list[Prompt]) -> list[Prompt]:
    """Count golds that are refused; the prompts of all others."""
    problems = scorer.answer_problems([attempt_at(prompt, "") for prompt in prompts])
    readable = []
    for prompt, problem in zip(prompts, problems, strict=True):
        if problem is None:
            readable.append(prompt)
        elif problem.startswith(GIVEN_UP):
            outcome.checks_stopped = True
        else:
            outcome.refused += 1
            outcome.doubts.add("gold refused", prompt.source, prompt.answer, None, problem)
    return readable


def _score_golds(outcome: DryRun, scorer: Scorer, verifier: config.Verifier, prompts: list[Prompt]) -> None:
    written = [gold_completion(verifier.name, verifier.extract, prompt.answer) for prompt in prompts]
    pairs = [(prompt, text) for prompt, text in zip(prompts, written, strict=True) if text is not None]
    rows = [(attempt_at(prompt, text), prompt.source) for prompt, text in pairs]
    wrong = "gold wrong against itself"
    _score(outcome, scorer, rows, outcome.golds, "a gold", wrong, lambda _, reward: reward != 1)
    if len(pairs) < 2:
        return  # the only one has no neighbour
    own = [text for _, text in pairs]
    others = [*own[1:], *own[:1]]
    shifted = [
        (attempt_at(prompt, text), prompt.source) for (prompt, _), text in zip(pairs, others, strict=True)
    ]

    def is_accident(row: int, reward: float) -> bool:
        return bool(reward) and _plain(own[row]) != _plain(others[row])

    accepted, what = "another gold is accepted", "the next prompt's gold"
    _score(outcome, scorer, shifted, outcome.neighbours, what, accepted, is_accident)


def _score(
    outcome: DryRun,
    scorer: Scorer,
    rows: list[_Row],
    count: Count,
    what: str,
    doubtful: str = "",
    is_doubtful: Callable[[int, float], bool] = lambda row, reward: False,
) -> None:
    """Score rows, unless too many failed before; count them, and keep what is doubtful, slow or failed."""
    if outcome.stopped:
        return
    verdicts = scorer.score([attempt for attempt, _ in rows])
    for number, ((attempt, source), verdict) in enumerate(zip(rows, verdicts, strict=True)):
        count.add(verdict)
        outcome.slowest = max(outcome.slowest, (_seconds(verdict), source))
        kind, read = "", verdict.extracted
        if verdict.reward is None:
            kind, read = "" if was_given_up(verdict) else f"{FAILED} on {what}", attempt.completion
        elif is_doubtful(number, verdict.reward):
            kind = doubtful
        if kind:
            outcome.doubts.add(kind, source, attempt.answer, read, verdict.reason)


def _seconds(verdict: Verdict) -> float:
    return (verdict.parts or {}).get(SECONDS, 0.0)


def _plain(text: str) -> str:
    return "".join(text.split()).casefold()
