"""Rewards of completions, as stages give them, against those that a person expects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from apo_core import config
from apo_core.verifiers import Verdict
from tasks.responses.scoring import scorer_of
from tasks.rewards.completions import Completion
from tasks.rewards.outcome import MAX_ERRORS, Count, Doubts

if TYPE_CHECKING:
    from apo_core.model.template import Template  # with transformers, which takes seconds

_NEAR = 1e-9  # rewards that differ by less are one


@dataclass
class Rewards:
    """The rewards of completions, of all verifiers together."""

    count: Count = field(default_factory=Count)
    expected: int = 0
    """Completions that the file has a reward for."""
    unexpected: int = 0
    """Those of them that got another one."""
    doubts: Doubts = field(default_factory=Doubts)

    @property
    def good(self) -> bool:
        """Whether every reward is the one expected, and nothing failed."""
        return not (self.unexpected or self.count.errors or self.count.stopped)


def score_completions(
    verifiers: config.Verifiers,
    directory: Path,
    completions: Sequence[Completion],
    *,
    max_tokens: int,
    prompt_template: Template | None,
) -> Rewards:
    """Score completions as stage `sample` does.

    Args:
        verifiers: the configuration.
        directory: the user's own verifier modules.
        completions: with the prompts that they answer.
        max_tokens: where responses are cut off.
        prompt_template: of the completions; None where it is not known.

    Raises:
        ApoError: a verifier cannot be loaded.
    """
    # A dry run goes on for some time where a stage would stop.
    tolerant = tuple(verifier.model_copy(update={"max_error_share": 0.5}) for verifier in verifiers)
    rows = 2 * (MAX_ERRORS - 1)
    rewards = Rewards()
    with scorer_of(tolerant, directory, rows=rows, prompt_template=prompt_template) as scorer:
        verdicts = scorer.score([completion.attempt(max_tokens) for completion in completions])
    for completion, verdict in zip(completions, verdicts, strict=True):
        rewards.count.add(verdict)
        if verdict.reward is not None:
            _compare(rewards, completion, verdict, verdict.reward)
    return rewards


def _compare(rewards: Rewards, completion: Completion, verdict: Verdict, reward: float) -> None:
    source, gold = completion.source, completion.prompt.answer
    expected = completion.row.reward
    if expected is not None:
        rewards.expected += 1
        if abs(reward - expected) > _NEAR:
            rewards.unexpected += 1
            reason = f"{reward:g} and not {expected:g}: {verdict.reason}"
            rewards.doubts.add("another reward than expected", source, gold, verdict.extracted, reason)
    if verdict.extracted is None:
        rewards.doubts.add("no answer read", source, gold, None, verdict.reason)
