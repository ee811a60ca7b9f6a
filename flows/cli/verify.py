"""`apo verify`: what the verifiers make of golds and completions, as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from apo_core import config
from apo_core.data.prompts import Prompt
from tasks.prompts.sources import chain_prompts, named_prompts
from tasks.rewards.choosing import choose
from tasks.rewards.completions import Completion, matched, read_rows
from tasks.rewards.dry_run import DryRun, dry_run
from tasks.rewards.expected import Rewards, score_completions
from tasks.rewards.outcome import FAILED, Count, Doubts
from tasks.rewards.unused import unused_verifier
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from apo_core.model.template import Template  # with transformers, which takes seconds


def try_verifiers(workspace: Workspace, params: config.Params, file: Path | None, limit: int) -> bool:
    """Print what the verifiers make of the golds of at most `limit` prompts, and of a file of completions.

    Returns:
        Whether every gold answer is read and right against itself, every reward is the one expected, and
        nothing failed.
    """
    rows = read_rows(file, params.data.prompt_field) if file else []
    ids = {key for row in rows for key in row.prompt_ids}
    chosen = choose(_prompts(workspace, params), limit, ids)
    completions = matched(rows, chosen.asked)
    notes = _notes(workspace, params, completions)
    template = _template(workspace, params) if completions else None
    verifiers, directory = params.verifier, workspace.raw_verifiers
    outcomes = dry_run(verifiers, directory, chosen.prompts, completions, template)
    rewards = None
    if completions:
        max_tokens = params.generation.max_new_tokens
        rewards = score_completions(
            verifiers, directory, completions, max_tokens=max_tokens, prompt_template=template
        )
    problems = _unfit(verifiers, chosen.kinds)
    _print(outcomes, rewards, f"{chosen.rows} rows of prompts", [*notes, *problems])
    as_expected = rewards is None or rewards.good
    return not problems and as_expected and all(outcome.good for outcome in outcomes)


def _prompts(workspace: Workspace, params: config.Params) -> Iterable[Prompt]:
    if params.data.source == "files":
        return named_prompts(workspace.raw_prompts, params.data, params.seed)
    return chain_prompts(workspace.params, params.arithmetic, params.data, params.seed)


def _template(workspace: Workspace, params: config.Params) -> Template | None:
    """The prompt template, once there is a reference policy with its tokenizer."""
    if not workspace.reference.exists():
        return None
    from apo_core.model.directory import ModelRef
    from tasks.prompts.prompt_template import load_prompt_template

    source = ModelRef(path=workspace.reference, trust_remote_code=params.trust_remote_code)
    return load_prompt_template(source, params.template)


def _notes(workspace: Workspace, params: config.Params, completions: list[Completion]) -> list[str]:
    """What a reward of a run may depend on and is not known here."""
    if not completions:
        return []
    notes = []
    if not workspace.reference.exists() and any(rule.thinking == "drop" for rule in params.verifier):
        notes.append(
            "data/reference is not there yet: "
            "completions are scored as if no prompt ended inside a thinking part"
        )
    unknown = sum(completion.row.tokens is None for completion in completions)
    if unknown and any(rule.overlong is not None for rule in params.verifier):
        notes.append(f"{unknown} completions have no token_ids: verifier.overlong takes nothing off them")
    return notes


def _unfit(verifiers: config.Verifiers, kinds: Mapping[tuple[str, str | None], str]) -> list[str]:
    """Verifiers without a prompt, and prompts without a verifier."""
    unused = unused_verifier(verifiers, kinds)
    problems = [] if unused is None else [f"verifier: {unused}"]
    for kind, source in kinds.items():
        if not any(rule.when is None or rule.when.fits(*kind) for rule in verifiers):
            group = "" if kind[1] is None else f", group {kind[1]}"
            problems.append(f"no verifier is for set {kind[0]}{group} ({source}): see verifier.when")
            break
    return problems


def _print(outcomes: list[DryRun], rewards: Rewards | None, title: str, notes: list[str]) -> None:
    console = Console()
    table = Table(title, *(escape(outcome.name) for outcome in outcomes), title_justify="left")
    rows = [_lines(outcome) for outcome in outcomes]
    for name in rows[0]:
        if any(row[name] for row in rows):
            table.add_row(name, *(escape(row[name]) for row in rows))
    console.print(table)
    for outcome in outcomes:
        seconds, source = outcome.slowest
        if source:
            _say(console, f"slowest score of {outcome.name}: {1000 * seconds:.1f} ms, {source}")
    if rewards is not None:
        table = Table("completions", str(rewards.count.scored))
        for name, figure in _reward_lines(rewards).items():
            table.add_row(name, figure)
        console.print(table)
    for outcome in outcomes:
        _print_doubts(console, outcome.doubts, f" ({outcome.name})" if len(outcomes) > 1 else "")
    if rewards is not None:
        _print_doubts(console, rewards.doubts)
    for note in notes:
        _say(console, note)


def _say(console: Console, text: str) -> None:
    """Print a line as it is, however narrow the terminal."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _print_doubts(console: Console, doubts: Doubts, whose: str = "") -> None:
    """Print rows by kind; file and line stay whole, however narrow the terminal."""
    for kind, count in doubts.counts.items():
        title = escape(f"{kind}{whose}")
        read = "completion" if kind.startswith(FAILED) else "read"
        table = Table(Column("row", overflow="fold"), "gold", read, "why", title=title, title_justify="left")
        for doubt in doubts.rows:
            if doubt.kind == kind:
                table.add_row(*map(escape, (doubt.source, doubt.gold, doubt.read, doubt.reason)))
        console.print(table)
        if count > table.row_count:
            _say(console, f"and {count - table.row_count} more")


def _lines(outcome: DryRun) -> dict[str, str]:
    """What is said of a verifier, by the name of the line; empty text says nothing."""
    golds, others, answers = outcome.golds, outcome.neighbours, outcome.completions
    accepted = others.mean
    return {
        "prompts looked at": str(outcome.prompts),
        "gold answers refused": str(outcome.refused),
        "right against themselves": _right(golds),
        "the next prompt's is accepted": "" if accepted is None else f"{accepted:.1%}",
        "the verifier failed on golds": _failures(
            outcome.gold_errors, golds.stopped or outcome.checks_stopped
        ),
        "on the next prompt's": _failures(others.errors, others.stopped) if others.errors else "",
        "on completions": _failures(answers.errors, answers.stopped) if answers.errors else "",
    }


def _reward_lines(rewards: Rewards) -> dict[str, str]:
    count = rewards.count
    lines = {
        "mean reward": "-" if count.mean is None else f"{count.mean:.3f}",
        "no answer read": f"{count.unread / count.scored:.1%}" if count.scored else "-",
        "a verifier failed": _failures(count.errors, count.stopped),
    }
    if rewards.expected:
        lines["another reward than expected"] = f"{rewards.unexpected} of {rewards.expected}"
    return lines


def _failures(errors: int, stopped: bool) -> str:
    return f"stopped after {errors} failures" if stopped else str(errors)


def _right(golds: Count) -> str:
    """How many golds are right, of all that were scored or failed."""
    asked = golds.scored
    return f"{golds.right} of {asked} ({golds.right / asked:.1%})" if asked else ""
