"""Load the configured verifiers, open the scorer that runs them, and refuse too many errors of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from apo_core import config
from apo_core.system.processes import cores
from apo_core.values.fingerprint import digest
from apo_core.verifiers import ErrorBudget, RowError, Scorer, Verifier, make_verifier, open_scorer
from apo_core.verifiers.combined import CombinedScorer, Part
from apo_core.verifiers.wrapped import with_own_limits

if TYPE_CHECKING:
    from apo_core.model.template import Template  # with transformers, which takes seconds


def verifiers_of(
    verifiers: config.Verifiers, directory: Path, prompt_template: Template | None = None
) -> list[Verifier]:
    """The verifiers that the configuration names.

    Args:
        verifiers: the configuration.
        directory: the user's own verifier modules.
        prompt_template: of the responses to score; where it ends with the tag that opens a thinking part,
            responses begin inside. None: nothing is scored.

    Raises:
        ApoError: there is no such verifier.
    """
    return [_rule(verifier, directory.resolve(), prompt_template) for verifier in verifiers]


def _rule(verifier: config.Verifier, directory: Path, prompt_template: Template | None) -> Verifier:
    opened = prompt_template is not None and prompt_template.ends_with(verifier.thinking_tags[0])
    rule = make_verifier(
        verifier.name,
        verifier.extract,
        directory,
        thinking=verifier.thinking,
        thinking_tags=verifier.thinking_tags,
        thinking_opened=opened,
    )
    # Where limits decide rewards, they are in the version.
    limited = with_own_limits(
        rule,
        time_limit_seconds=verifier.time_limit_seconds,
        memory_limit_mib=verifier.memory_limit_mib,
    )
    return rule if limited is None else limited


def verifier_identity(verifiers: config.Verifiers, directory: Path) -> tuple[str, str]:
    """Name and version of the verifiers, which change whenever a reward may change.

    Raises:
        ApoError: there is no such verifier.
    """
    rules = verifiers_of(verifiers, directory)
    if not needs_parts(verifiers):
        return rules[0].name, rules[0].version
    parts = [
        {"name": rule.name, "version": rule.version}
        | verifier.model_dump(mode="json", include={"when", "weight", "overlong"})
        for verifier, rule in zip(verifiers, rules, strict=True)
    ]
    return "+".join(rule.name for rule in rules), digest(parts)


@contextmanager
def scorer_of(
    verifiers: config.Verifiers,
    directory: Path,
    *,
    rows: int,
    prompt_template: Template | None = None,
    shaped: bool = True,
    own_cores: int | None = None,
) -> Iterator[Scorer]:
    """The scorer that runs the configured verifiers, for as long as the context is open.

    Args:
        verifiers: the configuration.
        directory: the user's own verifier modules.
        rows: number of rows of which `verifier.max_error_share` may be errors; a call with more errors ends.
        prompt_template: of the responses to score; None where nothing is scored.
        shaped: whether a long response loses what `verifier.overlong` says; an evaluation counts answers.
        own_cores: of this machine, that the stage's other workers or ranks leave to this one; None: all.

    Raises:
        ApoError: there is no such verifier.
    """
    with ExitStack() as stack:
        parts = [
            Part(
                name=verifier.name,
                scorer=stack.enter_context(_open(verifier, rule, rows, own_cores or cores())),
                fits=(verifier.when or config.When()).fits,
                weight=verifier.weight,
                overlong=None if verifier.overlong is None or not shaped else _overlong(verifier.overlong),
            )
            for verifier, rule in zip(
                verifiers, verifiers_of(verifiers, directory, prompt_template), strict=True
            )
        ]
        yield CombinedScorer(parts) if needs_parts(verifiers) else parts[0].scorer


def _open(
    verifier: config.Verifier, rule: Verifier, rows: int, own_cores: int
) -> AbstractContextManager[Scorer]:
    return open_scorer(
        rule,
        workers=verifier.processes(own_cores),
        time_limit_seconds=verifier.time_limit_seconds,
        memory_limit_mib=verifier.memory_limit_mib,
        max_errors=int(verifier.max_error_share * rows),
    )


def _overlong(overlong: config.Overlong) -> tuple[int, float]:
    return overlong.buffer_tokens, overlong.penalty


def needs_parts(verifiers: config.Verifiers) -> bool:
    """Whether rewards are more than what one verifier says of every response."""
    return len(verifiers) > 1 or verifiers[0].when is not None or verifiers[0].overlong is not None


def max_error_share(verifiers: config.Verifiers) -> float:
    """The share of rows that may be errors: the smallest of all verifiers'."""
    return min(verifier.max_error_share for verifier in verifiers)


def error_budget(verifiers: config.Verifiers, *, rows: int) -> Callable[[pd.DataFrame], None]:
    """A check that is given each shard's rows and refuses more errors than `verifier.max_error_share`.

    Args:
        verifiers: the configuration.
        rows: number of rows that the stage will score.
    """
    budget = ErrorBudget(max_error_share(verifiers), rows=rows)
    return lambda frame: budget.spend(row_errors(frame))


def row_errors(frame: pd.DataFrame) -> list[RowError]:
    """The rows of a table of samples or evaluations that have no reward."""
    failed = frame[frame["reward"].isna()]
    return [
        RowError(f"{prompt_id}/{index}", reason)
        for prompt_id, index, reason in zip(
            failed["prompt_id"], failed["sample_index"], failed["reason"], strict=True
        )
    ]
