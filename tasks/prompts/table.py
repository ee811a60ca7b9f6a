"""Read the prompts table: the rows of one split, and those rows as questions to sample responses to."""

from __future__ import annotations

import pandas as pd

from apo_core.sampling.scored import Question
from apo_core.tables import PROMPTS, read_table
from tasks.workspace import Workspace


def read_split(workspace: Workspace, split: str) -> pd.DataFrame:
    """The prompts of one split, in table order."""
    prompts = read_table(workspace.prompts, PROMPTS)
    return prompts[prompts["split"] == split].reset_index(drop=True)


def to_questions(prompts: pd.DataFrame) -> list[Question]:
    """The rows of a prompts table as questions; what a row leaves out is None."""
    columns = prompts[list(Question._fields)].astype(object)
    return [Question(*row) for row in columns.where(columns.notna(), None).itertuples(index=False, name=None)]
