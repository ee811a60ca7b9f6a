"""What a person wants to see of each stage on the Prefect page, as markdown."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from apo_core.files import read_json
from apo_core.tables import EVALUATIONS, PROMPTS, SAMPLES, VALUES, read_table
from apo_core.training.metrics import read_metrics
from tasks.plots import plot_training, plot_values
from tasks.workspace import Workspace


def stage_artifact(workspace: Workspace, stage: str) -> str:
    """The artifact of a stage that is up to date."""
    parts = [f"# {stage}", _facts(workspace, stage)]
    if stage == "prepare":
        parts += [_prompts(workspace), _contamination(workspace)]
    elif stage == "validate":
        parts.append(_checks(workspace.validation("prompts")))
    elif stage == "sample":
        parts += [_checks(workspace.validation("samples")), _samples(workspace)]
    elif stage == "values":
        values = read_table(workspace.values, VALUES)
        parts += [_checks(workspace.validation("values")), _drawn(lambda file: plot_values(values, file))]
    elif stage == "train":
        metrics = pd.DataFrame(read_metrics(workspace.metrics))
        parts.append(_drawn(lambda file: plot_training(metrics, file)))
    elif stage == "evaluate":
        parts += [_evaluation(read_json(workspace.evaluation)), _responses(workspace)]
    elif stage == "report":
        parts.append(_report(workspace))
    return "\n\n".join(parts)


def _facts(workspace: Workspace, stage: str) -> str:
    facts = read_json(workspace.facts(stage))
    rows = [{"": name.replace("_", " "), "value": f"{value:,.6g}" if isinstance(value, float) else value}
            for name, value in facts.items()]  # fmt: skip
    return _table(rows)


def _checks(file: Path) -> str:
    rows = [
        {
            "a row is refused whose": f"{check['field']} {check['must_not']}",
            "expectation": check["expectation"],
            "failed rows": check["failed_rows"],
            "": "passed" if check["passed"] else "**failed**",
        }
        for check in read_json(file)["checks"]
    ]
    return f"## Checks of `{file.stem}`\n\n{_table(rows)}"


def _prompts(workspace: Workspace) -> str:
    return "## Prompts\n\n" + _frame(read_table(workspace.prompts, PROMPTS).groupby("split").head(3))


def _contamination(workspace: Workspace) -> str:
    found = read_json(workspace.validation("contamination"))
    shown = [{name: pair[name] for name in ("training_prompt", "evaluation_prompt", "set", "why")}
             for pair in found["listed"][:5]]  # fmt: skip
    return (
        f"## Training prompts that give an evaluation prompt away: {found['contaminated']}\n\n{_table(shown)}"
    )


def _samples(workspace: Workspace) -> str:
    prompts = read_table(workspace.prompts, PROMPTS).set_index("prompt_id")
    samples = read_table(workspace.samples, SAMPLES).head(8)
    samples = samples.join(prompts[["prompt", "answer"]], on="prompt_id")
    return "## Samples\n\n" + _frame(samples[["prompt", "answer", "text", "reward", "finish_reason"]])


def _responses(workspace: Workspace) -> str:
    rows = read_table(workspace.evaluations, EVALUATIONS)
    greedy = rows[rows["sample_index"] < 0]
    greedy = greedy.assign(text=greedy["text"] + greedy["reward"].map(" ({:g})".format))
    prompts = read_table(workspace.prompts, PROMPTS).set_index("prompt_id")
    pairs = greedy.pivot_table(
        index="prompt_id", columns="policy", values="text", aggfunc="first", sort=False
    )
    shown = pairs.head(8).join(prompts[["prompt", "answer"]])
    return "## Greedy responses (rewards)\n\n" + _frame(shown[["prompt", "answer", "reference", "policy"]])


def _evaluation(evaluation: dict[str, Any]) -> str:
    rows = [
        {"": name, "pass@1": f"{one['pass@1']:.3f}", "95% interval": _interval(one["ci95"]),
         "greedy": f"{one['greedy']:.3f}", "truncated": f"{one['truncated']:.1%}"}
        for name, one in ((name, evaluation[name]) for name in ("reference", "policy"))
    ]  # fmt: skip
    low, high = evaluation["gain_ci95"]
    gain = f"Gain **{evaluation['gain']:+.3f}** ({low:+.3f} to {high:+.3f}, paired)"
    return (
        f"{gain} on {evaluation['prompts']} held-out prompts, {evaluation['samples']} samples each; "
        f"KL {evaluation['kl']:.2f} nats.\n\n{_table(rows)}"
    )


def _report(workspace: Workspace) -> str:
    report = read_json(workspace.report)
    decision = report["decision"]
    pictures = [_picture(workspace.plots / f"{name}.png") for name in ("evaluation", "training", "values")]
    against = f"Against the reference alone: **{decision['outcome']}**: {decision['reason']}"
    return "\n\n".join([against, *pictures])


def _drawn(plot: Callable[[Path], None]) -> str:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "plot.png"
        plot(file)
        return _picture(file)


def _picture(file: Path) -> str:
    """An image inside the markdown: the page must show it without reaching this machine's files."""
    data = base64.b64encode(file.read_bytes()).decode()
    return f"![{file.stem}](data:image/png;base64,{data})"


def _interval(ends: list[float]) -> str:
    return f"{ends[0]:.3f} to {ends[1]:.3f}"


def _frame(frame: pd.DataFrame) -> str:
    return _table(frame.to_dict(orient="records"))


def _table(rows: list[dict[Any, Any]]) -> str:
    """A markdown table; cells are cut and escaped."""
    if not rows:
        return "(none)"
    header = [str(name) for name in rows[0]]
    lines = [header, ["---"] * len(header), *([_cell(value) for value in row.values()] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text[:120].replace("|", "\\|").replace("\n", " ⏎ ").replace("<", "&lt;")
