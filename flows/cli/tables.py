"""What the command line prints for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.doctor.inputs import Finding
from tasks.lineage.summary import waits
from tasks.workspace import STAGES

if TYPE_CHECKING:
    from apo_core.decisions.audit_chain import Entry
    from apo_core.model.memory_plan import Item

_PHASES = {"always": "", "rollout": "while sampling", "update": "while updating", "disk": "on the disk"}


def print_summary(summary: dict[str, Any], workspace: str = "") -> None:
    """The run's outcome as a table; commands in it have the option `-w` of a workspace that is elsewhere."""
    evaluation, values, train = summary["eval"], summary["values"], summary["train"]
    table = Table(title="A*-PO", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name in ("reference", "policy"):
        one = evaluation[name]
        table.add_row(f"{name} pass@1", f"{one['pass@1']:.3f}  (95% {_interval(one['ci95'])})")
    gain = f"{evaluation['gain']:+.3f}  (95% {_interval(evaluation['gain_ci95'])}, paired)"
    table.add_row("gain", f"{gain} on {evaluation['prompts']} held-out prompts")
    for name, block in evaluation["sets"].items():
        gain = f"{block['gain']:+.3f}  (95% {_interval(block['gain_ci95'])}, paired)"
        table.add_row(f"  {escape(name)}", f"{gain} on {block['prompts']}")
    if evaluation["samples"] > 1:
        for name in (f"pass@{evaluation['samples']}", f"maj@{evaluation['samples']}"):
            table.add_row(name, _both(evaluation, name, ".3f"))
    for name in ("truncated", "unparsed", "errors"):
        if name == "truncated" or any(evaluation[model][name] for model in ("reference", "policy")):
            table.add_row(name, f"{_both(evaluation, name, '.1%')} of the responses")
    table.add_row("KL to the reference", f"{evaluation['kl']:.2f} nats a response")
    dropped = "".join(f", {count} {reason}" for reason, count in values["dropped"].items())
    table.add_row(
        "values",
        f"{values['kept']} of {values['prompts']} prompts kept{dropped}, "
        f"N = {_responses(values)}, beta1 = {values['beta1']:g}",
    )
    table.add_row(
        "training",
        f"{train['algorithm']}, {train['steps']} steps of {train['prompts_per_step']} prompts, "
        f"peak {train['peak_rss_mib']:.0f} MiB",
    )
    seconds = summary["seconds"]
    table.add_row("seconds", ", ".join(f"{stage} {seconds[stage]:.0f}" for stage in STAGES))
    table.add_row("decision", escape(f"{summary['decision']['outcome']}: {summary['decision']['reason']}"))
    table.add_row("model", _model(summary["model"]))
    if summary["approval"] is not None:
        table.add_row("approval", escape(_approval(summary) + (workspace if waits(summary) else "")))
    lineage = ", ".join(f"{name} {_short(str(value))}" for name, value in summary["lineage"].items())
    table.add_row("lineage", lineage)
    Console().print(table)


def _short(value: str) -> str:
    """A hash that a person can tell from others; that a commit is not the whole is not cut off."""
    digest, changes, _ = value.partition("+changes")
    return digest[:12] + changes


def _both(evaluation: dict[str, Any], name: str, form: str) -> str:
    found = {model: evaluation[model][name] for model in ("reference", "policy")}
    return ", ".join(
        f"{model} {'-' if value is None else format(value, form)}" for model, value in found.items()
    )


def _interval(ends: list[float]) -> str:
    return f"{ends[0]:.3f} to {ends[1]:.3f}"


def _model(model: dict[str, Any]) -> str:
    if model["version"] is None:
        return f"{model['name']}: not registered"
    aliases = ", ".join(model["aliases"]) or "no alias"
    return f"{model['name']} version {model['version']} ({aliases})"


def _approval(summary: dict[str, Any]) -> str:
    approval, model = summary["approval"], summary["model"]
    if waits(summary):
        return f"wanted: apo approve {model['name']} {model['version']} --by NAME --reason WHY"
    if approval["event"] == "candidate":
        return "none: a newer candidate took its place, or the time was over"
    return f"{approval['event']} by {approval['by']}"


def print_audit(entries: list[Entry]) -> None:
    """A log that has been verified."""
    table = Table("", "time", "event", "version", "by", "reason", "hash")
    for entry in entries:
        time = entry.time[:19].replace("T", " ")
        row = (str(entry.sequence), time, entry.event, entry.version, entry.by, entry.reason, entry.hash[:12])
        table.add_row(*map(escape, row))
    Console().print(table)
    Console().print(f"{len(entries)} entries, verified")


def print_lineage(lineage: dict[str, str]) -> None:
    """Where a version comes from."""
    table = Table(show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in lineage.items():
        table.add_row(name, escape(value))
    Console().print(table)


def print_findings(findings: list[Finding]) -> None:
    """What the doctor saw."""
    table = Table("", "", "", show_header=False)
    for finding in findings:
        table.add_row(
            finding.subject, "[green]ok" if finding.good else "[red]problem", escape(finding.detail)
        )
    Console().print(table)


def print_plan(items: list[Item]) -> None:
    """What training takes, and when."""
    table = Table("training", "MiB", "", title_justify="left")
    table.columns[1].justify = "right"
    for item in items:
        table.add_row(item.name, f"{item.mib:,.0f}", _PHASES[item.phase])
    Console().print(table)


def _responses(values: dict[str, Any]) -> str:
    """How many a prompt; of adaptive sampling on average, too."""
    n, mean = values["n"], values["responses"] / values["prompts"]
    return str(n) if mean == n else f"{mean:.1f} (at most {n})"
