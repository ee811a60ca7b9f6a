"""The Markdown artifact of each stage on the Prefect page."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from apo_core.evaluation.comparison import DIFFICULTIES
from apo_core.evaluation.schema import bounds_in_words, mean_name
from apo_core.system.files import read_json
from apo_core.tables import PROMPTS, SAMPLES, VALUES, read_table
from apo_core.training.metrics import read_metrics
from tasks.reporting.markdown import frame_table, table
from tasks.reporting.plots import plot_training, plot_values
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
        parts += [_checks(workspace.validation("values")), _plot(lambda file: plot_values(values, file))]
    elif stage == "train":
        metrics = pd.DataFrame(read_metrics(workspace.metrics))
        parts.append(_plot(lambda file: plot_training(metrics, file)))
    elif stage == "evaluate":
        parts += [
            _evaluation(read_json(workspace.evaluation)),
            workspace.examples.read_text(encoding="utf-8"),
        ]
    elif stage == "report":
        parts.append(_report(workspace))
    return "\n\n".join(parts)


def _facts(workspace: Workspace, stage: str) -> str:
    facts = read_json(workspace.facts(stage))
    rows = [{"": name.replace("_", " "), "value": f"{value:,.6g}" if isinstance(value, float) else value}
            for name, value in facts.items()]  # fmt: skip
    return table(rows)


def _checks(file: Path) -> str:
    rows = [
        {
            "a row is refused whose": f"{check['field']} {check['must_not']}",
            "expectation": check["expectation"],
            "failed rows": check["failed_rows"],
            "": "passed" if check["passed"] else "FAILED",
        }
        for check in read_json(file)["checks"]
    ]
    return f"## Checks of `{file.stem}`\n\n{table(rows)}"


def _prompts(workspace: Workspace) -> str:
    return "## Prompts\n\n" + frame_table(read_table(workspace.prompts, PROMPTS).groupby("split").head(3))


def _contamination(workspace: Workspace) -> str:
    report = read_json(workspace.validation("contamination"))
    shown = [{name: pair[name] for name in ("training_prompt", "evaluation_prompt", "set", "why")}
             for pair in report["listed"][:5]]  # fmt: skip
    return (
        f"## Training prompts that give an evaluation prompt away: {report['contaminated']}\n\n{table(shown)}"
    )


def _samples(workspace: Workspace) -> str:
    prompts = read_table(workspace.prompts, PROMPTS).set_index("prompt_id")
    samples = read_table(workspace.samples, SAMPLES).head(8)
    samples = samples.join(prompts[["prompt", "answer"]], on="prompt_id")
    shown = ["prompt", "answer", "text", "reward", "reason", "finish_reason"]
    return "## Samples\n\n" + frame_table(samples[shown])


def _evaluation(evaluation: dict[str, Any]) -> str:
    parts = [
        f"{evaluation['prompts']} held-out prompts, {evaluation['samples']} samples each; "
        f"KL {evaluation['kl']:.2f} nats per response.",
        table({"": name, **_figures(evaluation[name])} for name in ("reference", "policy")),
        "## Gain, paired",
        table(
            _gain(name, block) | (_bounds(block) if "gain_bounds" in evaluation else {})
            for name, block in [("all prompts", evaluation), *_blocks(evaluation)]
        ),
    ]
    return "\n\n".join(parts)


def _figures(model: dict[str, Any]) -> dict[str, str]:
    """A model's figures by name, the mean with its interval."""
    low, high = model["ci95"]
    mean = mean_name(model)
    shown = {mean: f"{model[mean]:.3f} ({low:.3f} to {high:.3f})"}
    at_k = sorted((name for name in model if "@" in name and name != mean), key=_by_k)
    shown |= {name: "" if model[name] is None else f"{model[name]:.3f}" for name in [*at_k, "greedy"]}
    return shown | {name: f"{model[name]:.1%}" for name in ("truncated", "unparsed", "errors")}


def _by_k(name: str) -> tuple[str, int]:
    kind, k = name.split("@")
    return kind, int(k)


def _blocks(evaluation: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Every part of the evaluation, named by its set, group or difficulty."""
    parts = [
        (f"{label} {name}", block)
        for label, key in (("set", "sets"), ("group", "groups"))
        for name, block in evaluation[key].items()
    ]
    difficulty = evaluation["difficulty"]
    return parts + [
        (f"{name} by other samples", difficulty[name]) for name in DIFFICULTIES if name in difficulty
    ]


def _gain(name: str, block: dict[str, Any]) -> dict[str, Any]:
    low, high = block["gain_ci95"]
    mean = mean_name(block["policy"])
    return {
        "": name,
        "prompts": block["prompts"],
        f"reference {mean}": f"{block['reference'][mean]:.3f}",
        f"policy {mean}": f"{block['policy'][mean]:.3f}",
        "gain": f"{block['gain']:+.3f}",
        "95% interval": f"{low:+.3f} to {high:+.3f}",
    }


def _bounds(block: dict[str, Any]) -> dict[str, str]:
    """What the gain can be at worst and at best, where the verifier failed on responses."""
    return {"with missing rewards": bounds_in_words(block) if "gain_bounds" in block else ""}


def _report(workspace: Workspace) -> str:
    report = read_json(workspace.report)
    decision = report["decision"]
    pictures = [_picture(workspace.plots / f"{name}.png") for name in ("evaluation", "training", "values")]
    against = f"Against the reference alone: **{decision['outcome']}**: {decision['reason']}"
    return "\n\n".join([against, *pictures])


def _plot(plot: Callable[[Path], None]) -> str:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "plot.png"
        plot(file)
        return _picture(file)


def _picture(file: Path) -> str:
    """An image inside the Markdown: the page must show it without this machine's files."""
    data = base64.b64encode(file.read_bytes()).decode()
    return f"![{file.stem}](data:image/png;base64,{data})"
