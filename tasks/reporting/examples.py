"""Write `reports/samples.md`: responses of reference and policy, side by side."""

from __future__ import annotations

import pandas as pd

from apo_core.data.messages import text_of_turns
from apo_core.evaluation.examples import Kind, choose_examples
from tasks.reporting.markdown import frame_table

_SHOW = 5  # prompts per kind
_WIDTH = 240  # characters per cell


def examples_of(rows: pd.DataFrame, prompts: pd.DataFrame) -> str:
    """Markdown with a table of greedy responses per kind: gained, lost, still wrong, still right.

    Args:
        rows: table `tables.EVALUATIONS`.
        prompts: table `tables.PROMPTS`; sets are named where there are several.
    """
    readable = prompts.assign(prompt=prompts["prompt"].map(text_of_turns))
    kinds = choose_examples(rows, readable, show=_SHOW)
    one_set = prompts["set"].nunique() == 1
    total = sum(kind.prompts for kind in kinds)
    intro = f"Greedy responses of the reference (before) and the policy (after), by outcome; {total} prompts."
    return "\n\n".join(["# Samples", intro, *(_section(kind, one_set) for kind in kinds)]) + "\n"


def _section(kind: Kind, one_set: bool) -> str:
    shown = kind.shown.drop(columns="set") if one_set else kind.shown
    shown = shown.rename(columns=lambda name: name.replace("_", " "))
    return f"## {kind.name} ({len(shown)} of {kind.prompts})\n\n{frame_table(shown, _WIDTH)}"
