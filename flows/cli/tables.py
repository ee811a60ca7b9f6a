"""Tables and texts that the command line prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from apo_core.decisions.audit_chain import author_in_words
from flows.doctor.inputs import Finding
from tasks.workspace import STAGES

if TYPE_CHECKING:
    from apo_core.decisions.audit_chain import Entry
    from apo_core.evaluation.schema import Gain
    from apo_core.plan.run_shape import Part
    from flows.doctor.memory import StageMemory
    from tasks.reporting.summary import ApprovalBlock, ModelBlock, Summary, ValuesBlock

_PHASES = {
    "always": "",
    "canary": "while vLLM is compared",
    "rollout": "while sampling",
    "learning": "while learning",
    "update": "while gradients are computed",
    "step": "while the optimizer steps",
}
_MEMORIES = {"device": "", "host": "of the host", "disk": "on the disk"}


def print_summary(summary: Summary, workspace: str = "") -> None:
    """Print a run's outcome; `workspace` is the option `-w` for the commands in it, if they need one."""
    evaluation, values, train = summary.eval, summary.values, summary.train
    reference, policy = evaluation.reference, evaluation.policy
    table = Table(title="A*-PO", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, scores in (("reference", reference), ("policy", policy)):
        table.add_row(f"{name} {scores.mean_name}", f"{scores.mean:.3f}  (95% {_interval(scores.ci95)})")
    table.add_row("gain", f"{_gain(evaluation)} on {evaluation.prompts} held-out prompts")
    if evaluation.gain_bounds is not None and evaluation.gain_bounds_ci95 is not None:
        bounds, ends = evaluation.gain_bounds, evaluation.gain_bounds_ci95
        table.add_row("  with errors", f"{_interval(bounds)}  (95% {_interval(ends)}, worst to best case)")
    for name, block in evaluation.sets.items():
        table.add_row(f"  {escape(name)}", f"{_gain(block)} on {block.prompts}")
    if evaluation.samples > 1:
        for name in (f"{policy.best_name}@{evaluation.samples}", f"maj@{evaluation.samples}"):
            table.add_row(name, _both(reference.at_k(name), policy.at_k(name), ".3f"))
    for name in ("truncated", "unparsed", "errors"):
        shares = getattr(reference, name), getattr(policy, name)
        if name == "truncated" or any(shares):
            table.add_row(name, f"{_both(*shares, '.1%')} of the responses")
    table.add_row("KL to the reference", f"{evaluation.kl:.2f} nats per response")
    dropped = "".join(f", {_dropped(values, reason)}" for reason in values.dropped)
    table.add_row(
        "values",
        f"{values.kept} of {values.prompts} prompts kept{dropped}, "
        f"N = {_responses_per_prompt(values)}, beta1 = {values.beta1:g}",
    )
    table.add_row(
        "training",
        f"{train.algorithm}, {train.steps} steps of {train.prompts_per_step} prompts, "
        f"peak {train.peak_rss_mib:.0f} MiB",
    )
    table.add_row("seconds", ", ".join(f"{stage} {summary.seconds[stage]:.0f}" for stage in STAGES))
    table.add_row("decision", escape(f"{summary.decision.outcome}: {summary.decision.reason}"))
    table.add_row("model", _model(summary.model))
    if summary.approval is not None:
        option = workspace if summary.waits else ""
        table.add_row("approval", escape(_approval(summary.model, summary.approval) + option))
    lineage = ", ".join(f"{name} {_short(str(digest))}" for name, digest in summary.lineage)
    table.add_row("lineage", lineage)
    Console().print(table)


def _short(value: str) -> str:
    """The first 12 digits of a hash; a commit keeps its mark of uncommitted changes."""
    digest, changes, _ = value.partition("+changes")
    return digest[:12] + changes


def _gain(block: Gain) -> str:
    return f"{block.gain:+.3f}  (95% {_interval(block.gain_ci95)}, paired)"


def _both(reference: float | None, policy: float | None, form: str) -> str:
    """Format a score of both policies; `-` for one that is not known."""
    scores = {"reference": reference, "policy": policy}
    return ", ".join(
        f"{name} {'-' if score is None else format(score, form)}" for name, score in scores.items()
    )


def _interval(ends: tuple[float, float]) -> str:
    return f"{ends[0]:.3f} to {ends[1]:.3f}"


def _model(model: ModelBlock) -> str:
    if model.version is None:
        return f"{model.name}: not registered"
    aliases = ", ".join(model.aliases) or "no alias"
    return f"{model.name} version {model.version} ({aliases})"


def _approval(model: ModelBlock, approval: ApprovalBlock) -> str:
    if approval.waits:
        return f"wanted: apo approve {model.name} {model.version} --by NAME --reason WHY"
    if approval.event == "candidate":
        return "none: a newer candidate took its place, or the time was over"
    return f"{approval.event} by {approval.by}"


def print_audit(entries: list[Entry]) -> None:
    """Format a log that has been verified."""
    table = Table("", "time", "event", "version", "by", "reason", "hash")
    for entry in entries:
        time, author = entry.time[:19].replace("T", " "), author_in_words(entry)
        row = (str(entry.sequence), time, entry.event, entry.version, author, entry.reason, entry.hash[:12])
        table.add_row(*map(escape, row))
    Console().print(table)
    Console().print(f"{len(entries)} entries, verified")


def print_lineage(lineage: dict[str, str]) -> None:
    """Format the lineage of a version."""
    table = Table(show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in lineage.items():
        table.add_row(name, escape(value))
    Console().print(table)


def print_findings(findings: list[Finding]) -> None:
    """Format the findings of the doctor."""
    table = Table("", "", "", show_header=False)
    for finding in findings:
        table.add_row(
            finding.subject, "[green]ok" if finding.good else "[red]problem", escape(finding.detail)
        )
    Console().print(table)


def print_memory(stages: list[StageMemory]) -> None:
    """Format the memory plans of the stages."""
    table = Table("stage", "memory per process", "MiB", "")
    table.columns[2].justify = "right"
    for stage in stages:
        for item in stage.items:
            if item.mib:
                remark = f"{_MEMORIES[item.memory]} {_PHASES[item.phase]}".strip()
                table.add_row(stage.stage, item.name, f"{item.mib:,.0f}", remark)
        table.add_section()
    Console().print(table)


def print_hours(parts: list[Part]) -> None:
    """Format where the time of a run goes."""
    table = Table("stage", "time", "minutes", "share", "")
    table.columns[2].justify = table.columns[3].justify = "right"
    whole = sum(part.seconds for part in parts)
    for part in parts:
        if part.seconds:
            minutes, share = f"{part.seconds / 60:,.1f}", f"{part.seconds / whole:.1%}"
            table.add_row(part.stage, part.name, minutes, share, escape(part.reason))
    Console().print(table)


def _dropped(values: ValuesBlock, reason: str) -> str:
    text = f"{values.dropped[reason]} {reason}"
    solvable = values.dropped_but_solvable if reason == "unsolved" else 0
    return f"{text} (about {solvable} solvable)" if solvable else text


def _responses_per_prompt(values: ValuesBlock) -> str:
    """Responses per prompt; with adaptive sampling their mean and their maximum."""
    mean = values.responses / values.prompts
    return str(values.n) if mean == values.n else f"{mean:.1f} (at most {values.n})"
