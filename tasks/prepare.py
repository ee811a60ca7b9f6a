"""Stage `prepare`: from raw files, or the embedded task, to one table of prompts."""

from __future__ import annotations

from typing import Any

import pandas as pd

from apo_core.arithmetic import Chain, distinct_chains
from apo_core.config import Arithmetic, Data, Template
from apo_core.errors import InputError
from apo_core.prompts import Prompt, Split, choose, prompt_id, read_prompts
from apo_core.tables import PROMPTS, write_table
from tasks.stage import Facts
from tasks.workspace import Workspace


def run(
    workspace: Workspace,
    seed: int,
    trust_remote_code: bool,
    arithmetic: Arithmetic,
    data: Data,
    template: Template,
) -> Facts:
    """Write `data/prompts.parquet`, training prompts first."""
    if data.source == "arithmetic":
        task = arithmetic.model_dump()
        train = _generated("train", data.train_prompts or 0, seed, task, workspace)
        held_out = _generated("eval", data.eval_prompts or 0, seed, task, workspace)
    else:
        train = _read(workspace, "train", data.train_files, data)
        held_out = _read(workspace, "eval", data.eval_files, data)
    found = len(train) + len(held_out)
    limit = template.max_prompt_tokens
    if data.too_long == "drop":
        from tasks.encoder import encoder_of  # seconds that only this choice pays

        # The template of the trainer itself: a limit on other text would drop other prompts.
        encoder = encoder_of(workspace.reference, template, trust_remote_code)
        train, held_out = (
            [one for one in part if len(encoder.encode(one.prompt)) <= limit] for part in (train, held_out)
        )
    dropped = found - len(train) - len(held_out)
    for split, part in (("train", train), ("eval", held_out)):
        if not part:
            raise InputError(
                workspace.params,
                f"{limit} tokens are fewer than any {split} prompt has: all are dropped",
                field="template.max_prompt_tokens",
            )
    if data.source == "files":
        train = _choose(workspace, "train", train, data.train_prompts, seed)
        held_out = _choose(workspace, "eval", held_out, data.eval_prompts, seed)
    write_table(workspace.prompts, pd.DataFrame(train + held_out), PROMPTS)
    return {"train": len(train), "eval": len(held_out), "dropped_too_long": dropped}


def _generated(
    split: Split, count: int, seed: int, task: dict[str, Any], workspace: Workspace
) -> list[Prompt]:
    try:
        found = distinct_chains(split, count, seed, **task)
    except ValueError as error:
        raise InputError(workspace.params, str(error), field=f"data.{split}_prompts") from None
    return [_prompt(chain, split) for chain in found]


def _prompt(chain: Chain, split: Split) -> Prompt:
    return Prompt(
        prompt_id(chain.prompt), chain.prompt, str(chain.answer), "{}", "arithmetic", split, "arithmetic"
    )


def _read(workspace: Workspace, split: Split, files: tuple[str, ...], data: Data) -> list[Prompt]:
    return [
        prompt
        for file in files
        for prompt in read_prompts(
            workspace.raw_prompts / file,
            split,
            prompt_field=data.prompt_field,
            answer_field=data.answer_field,
        )
    ]


def _choose(
    workspace: Workspace, split: Split, prompts: list[Prompt], count: int | None, seed: int
) -> list[Prompt]:
    try:
        return choose(prompts, count, seed)
    except ValueError as error:
        raise InputError(workspace.params, str(error), field=f"data.{split}_prompts") from None
