"""`apo verify`: what the verifiers make of golds and completions, as tables."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from apo_core.config import Params
from apo_core.data.prompts import Prompt
from tasks.prompts.sources import chain_prompts, named_prompts
from tasks.rewards.completions import read_completions
from tasks.rewards.dry_run import Count, DryRun, dry_run, evenly
from tasks.workspace import Workspace


def try_verifiers(workspace: Workspace, params: Params, completions: Path | None, limit: int) -> bool:
    """Print what the verifiers make of the golds of at most `limit` prompts, and of a file of completions.

    Returns:
        Whether every gold answer is read and right against itself, and nothing failed.
    """
    every = _distinct(_prompts(workspace, params))
    completed = read_completions(completions, every, params.data.prompt_field) if completions else []
    prompts = evenly(every, limit)
    outcomes = dry_run(params.verifier, workspace.raw_verifiers, prompts, completed)
    unscored = [
        prompt
        for prompt in prompts
        if not any(rule.when is None or rule.when.fits(prompt.set, prompt.group) for rule in params.verifier)
    ]
    _print(outcomes, f"{len(prompts)} of {len(every)} prompts")
    if unscored:
        first = unscored[0]
        problem = f"{len(unscored)} prompts have no verifier, such as {first.source} of set {first.set}"
        Console().print(f"{problem}: see verifier.when", markup=False)
    return not unscored and all(outcome.good for outcome in outcomes)


def _prompts(workspace: Workspace, params: Params) -> Iterable[Prompt]:
    if params.data.source == "files":
        return named_prompts(workspace.raw_prompts, params.data, params.seed)
    return chain_prompts(workspace.params, params.arithmetic, params.data, params.seed)


def _distinct(prompts: Iterable[Prompt]) -> list[Prompt]:
    return list({prompt.prompt_id: prompt for prompt in prompts}.values())


def _print(outcomes: list[DryRun], title: str) -> None:
    table = Table(title, *(escape(outcome.name) for outcome in outcomes), title_justify="left")
    rows = [_lines(outcome) for outcome in outcomes]
    for name in rows[0]:
        if any(row[name] for row in rows):
            table.add_row(name, *(escape(row[name]) for row in rows))
    Console().print(table)
    doubts = Table("row", "gold", "read", "why", title="To look at", title_justify="left")
    for outcome in outcomes:
        for doubt in outcome.doubts:
            why = f"{doubt.kind}: {doubt.reason}"
            doubts.add_row(*map(escape, (doubt.source, doubt.gold, doubt.read, why)))
    if doubts.row_count:
        Console().print(doubts)


def _lines(outcome: DryRun) -> dict[str, str]:
    """What is said of a verifier, by the name of the line; empty text says nothing."""
    completed = outcome.completions
    seconds, source = outcome.slowest
    return {
        "prompts": str(outcome.prompts),
        "gold answers refused": str(outcome.refused),
        "right against themselves": _right(outcome.golds),
        "the next prompt's is accepted": _right(outcome.neighbours),
        "completions": str(completed.scored or ""),
        "their mean reward": "" if completed.mean is None else f"{completed.mean:.3f}",
        "no answer read": f"{completed.unread / completed.scored:.1%}" if completed.scored else "",
        "the verifier failed": str(outcome.golds.errors + outcome.neighbours.errors + completed.errors),
        "slowest": f"{1000 * seconds:.1f} ms ({source})" if source else "",
    }


def _right(count: Count) -> str:
    return "" if count.mean is None else f"{count.mean:.1%}"
