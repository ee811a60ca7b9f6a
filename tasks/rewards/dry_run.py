"""A dry run of the verifiers: golds against themselves and their neighbours, and given completions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from apo_core import config
from apo_core.data.prompts import Prompt
from apo_core.verifiers import Attempt, Scorer, Verdict, open_scorer
from apo_core.verifiers.base import shortened
from apo_core.verifiers.golds import gold_completion
from apo_core.verifiers.timed import SECONDS, Timed
from tasks.responses.scoring import verifiers_of
from tasks.rewards.completions import Completion

_SHOWN = 5  # doubtful rows of a kind
_END = 40  # characters of a gold answer that are shown
_MAX_ERRORS = 20  # each may cost the whole time limit


class Doubt(NamedTuple):
    """A row that a person should look at."""

    kind: str
    source: str  # file:line
    gold: str
    read: str  # the completion, or the answer that was read in it
    reason: str


@dataclass
class Count:
    """What became of the attempts of one kind."""

    scored: int = 0
    rewards: float = 0.0
    unread: int = 0
    errors: int = 0

    @property
    def mean(self) -> float | None:
        """The mean reward; None where nothing was scored."""
        counted = self.scored - self.errors
        return self.rewards / counted if counted else None

    def add(self, verdict: Verdict) -> None:
        """Count a verdict."""
        self.scored += 1
        self.errors += verdict.reward is None
        self.unread += verdict.reward is not None and verdict.extracted is None
        self.rewards += verdict.reward or 0.0


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
    slowest: tuple[float, str] = (0.0, "")
    """Seconds of the slowest score, and its source."""
    doubts: list[Doubt] = field(default_factory=list)
    """A few rows of each kind that a person should look at."""

    @property
    def good(self) -> bool:
        """Whether every gold answer is read and right against itself, and nothing failed."""
        wrong_golds = self.golds.mean is not None and self.golds.mean < 1
        return not (self.refused or wrong_golds or self.golds.errors or self.completions.errors)

    def doubt(self, kind: str, source: str, gold: str, read: str | None, reason: str) -> None:
        """Keep a row to be looked at, unless there are enough of its kind."""
        if sum(known.kind == kind for known in self.doubts) < _SHOWN:
            texts = [shortened(text) for text in (_end_of(gold), read or "", reason)]
            self.doubts.append(Doubt(kind, source, *texts))


def dry_run(
    verifiers: config.Verifiers,
    directory: Path,
    prompts: Sequence[Prompt],
    completions: Sequence[Completion],
) -> list[DryRun]:
    """Score golds and completions with every verifier, on the prompts that it is for.

    Args:
        verifiers: the configuration.
        directory: the user's own verifier modules.
        prompts: whose golds are scored.
        completions: with the prompts that they answer.

    Raises:
        ApoError: a verifier cannot be loaded.
    """
    outcomes = []
    for verifier, rule in zip(verifiers, verifiers_of(verifiers, directory), strict=True):
        fits = (verifier.when or config.When()).fits
        own = [prompt for prompt in prompts if fits(prompt.set, prompt.group)]
        answers = [
            completion for completion in completions if fits(completion.prompt.set, completion.prompt.group)
        ]
        outcome = DryRun(verifier.name, len(own))
        with open_scorer(
            Timed(rule),
            workers=verifier.workers,
            time_limit_seconds=verifier.time_limit_seconds,
            memory_limit_mib=verifier.memory_limit_mib,
            max_errors=_MAX_ERRORS,
        ) as scorer:
            scorer.check()
            readable = _check_golds(outcome, scorer, own)
            _score_golds(outcome, scorer, verifier, readable)
            _score_completions(outcome, scorer, answers)
        outcomes.append(outcome)
    return outcomes


def _check_golds(outcome: DryRun, scorer: Scorer, prompts: list[Prompt]) -> list[Prompt]:
    """Count golds that are refused; the prompts of all others."""
    problems = scorer.answer_problems([_attempt(prompt, "") for prompt in prompts])
    for prompt, problem in zip(prompts, problems, strict=True):
        if problem is not None:
            outcome.refused += 1
            outcome.doubt("gold refused", prompt.source, prompt.answer, None, problem)
    return [prompt for prompt, problem in zip(prompts, problems, strict=True) if problem is None]


def _score_golds(outcome: DryRun, scorer: Scorer, verifier: config.Verifier, prompts: list[Prompt]) -> None:
    written = [gold_completion(verifier.name, verifier.extract, prompt.answer) for prompt in prompts]
    pairs = [(prompt, text) for prompt, text in zip(prompts, written, strict=True) if text is not None]

    def is_wrong(prompt: Prompt, text: str, verdict: Verdict) -> bool:
        return verdict.reward != 1

    _score(outcome, scorer, pairs, outcome.golds, "gold wrong against itself", is_wrong)
    texts = [text for _, text in pairs]
    # Of the next prompt; with a single one there is none.
    shifted = [(prompt, text) for (prompt, _), text in zip(pairs, [*texts[1:], *texts[:1]], strict=True)]
    own = dict(zip((prompt.prompt_id for prompt, _ in pairs), texts, strict=True))

    def is_accident(prompt: Prompt, text: str, verdict: Verdict) -> bool:
        return bool(verdict.reward) and _plain(text) != _plain(own[prompt.prompt_id])

    neighbours = shifted if len(shifted) > 1 else []
    _score(outcome, scorer, neighbours, outcome.neighbours, "another gold is accepted", is_accident)


def _score_completions(outcome: DryRun, scorer: Scorer, completions: list[Completion]) -> None:
    expected = {
        (completion.prompt.prompt_id, completion.text): completion.reward for completion in completions
    }

    def is_unexpected(prompt: Prompt, text: str, verdict: Verdict) -> bool:
        reward = expected[prompt.prompt_id, text]
        return reward is not None and verdict.reward is not None and abs(verdict.reward - reward) > 1e-9

    def is_unread(prompt: Prompt, text: str, verdict: Verdict) -> bool:
        return verdict.reward is not None and verdict.extracted is None

    pairs = [(completion.prompt, completion.text) for completion in completions]
    verdicts = _score(
        outcome, scorer, pairs, outcome.completions, "another reward than expected", is_unexpected
    )
    for (prompt, text), verdict in zip(pairs, verdicts, strict=True):
        if is_unread(prompt, text, verdict):
            outcome.doubt("no answer read", prompt.source, prompt.answer, text[-200:], verdict.reason)


def _score(
    outcome: DryRun,
    scorer: Scorer,
    pairs: list[tuple[Prompt, str]],
    count: Count,
    doubtful: str,
    is_doubtful: Callable[[Prompt, str, Verdict], bool],
) -> list[Verdict]:
    """Score completions, count them, and keep what is doubtful, slow or failed."""
    verdicts = scorer.score([_attempt(prompt, text) for prompt, text in pairs])
    for (prompt, text), verdict in zip(pairs, verdicts, strict=True):
        count.add(verdict)
        seconds = (verdict.parts or {}).get(SECONDS, 0.0)
        outcome.slowest = max(outcome.slowest, (seconds, prompt.source))
        if verdict.reward is None:
            outcome.doubt("the verifier failed", prompt.source, prompt.answer, text, verdict.reason)
        elif is_doubtful(prompt, text, verdict):
            outcome.doubt(doubtful, prompt.source, prompt.answer, verdict.extracted or text, verdict.reason)
    return verdicts


def _attempt(prompt: Prompt, text: str) -> Attempt:
    return Attempt(text, prompt.answer, prompt.row, prompt.set, prompt.group)


def _end_of(gold: str) -> str:
    """The last of a long gold answer, where its number stands."""
    return gold if len(gold) <= _END else f"...{gold[-_END:]}"


def _plain(text: str) -> str:
    return "".join(text.split()).casefold()


def evenly(prompts: Sequence[Prompt], most: int) -> list[Prompt]:
    """At most so many of the prompts, evenly from all of them."""
    count = min(most, len(prompts))
    return [prompts[index * len(prompts) // count] for index in range(count)]
