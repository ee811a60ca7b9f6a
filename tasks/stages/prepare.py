"""Stage `prepare`: make one table of prompts from raw files, or from a generated task."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa

from apo_core.config import Arithmetic, Data, Template
from apo_core.data.pool import Mask, Pool, choose, collect
from apo_core.data.prompts import Split
from apo_core.errors import InputError
from apo_core.model.directory import ModelRef
from apo_core.tables import PROMPTS, write_batches
from tasks.prompts.cleaning import ContaminatedPrompts, LongPrompts, duplicates_in
from tasks.prompts.sources import chain_prompts, named_prompts
from tasks.stages.process import Facts
from tasks.workspace import Workspace


def run(
    workspace: Workspace,
    seed: int,
    trust_remote_code: bool,
    arithmetic: Arithmetic,
    data: Data,
    template: Template,
) -> Facts:
    """Write `data/prompts.parquet`, training prompts first, and `reports/validation/contamination.json`.

    Rows stream from the files to a table on the disk; only three numbers per prompt are kept in memory.
    """
    if data.source == "files":
        prompts = named_prompts(workspace.raw_prompts, data, seed)
    else:
        prompts = chain_prompts(workspace.params, arithmetic, data, seed)
    work = workspace.work("prepare")
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work) as scratch:
        pool = collect(prompts, Path(scratch) / "pool.parquet")
        alike, repeated = duplicates_in(pool, data.duplicates)
        long = _long_prompts(workspace, pool, data, template, trust_remote_code)
        may_be_held_out = ~alike & (pool.evaluation | (data.split == "seed"))
        held_out = _choose(workspace, pool, may_be_held_out, "eval", data, seed, long)
        if data.split == "seed":
            pool = pool._replace(evaluation=held_out)
        # Against all evaluation prompts that were read: which of them an evaluation takes may change.
        contaminated = ContaminatedPrompts(
            pool,
            pool.evaluation & ~alike & (data.source == "files"),  # a chain's own hash decides its split
            data.contamination,
            workspace.validation("contamination"),
        )
        contaminated.write_report()
        unfit = _either(long, contaminated)
        train = _choose(workspace, pool, ~pool.evaluation & ~alike, "train", data, seed, unfit)
        write_batches(workspace.prompts, _rows(pool, train, held_out), PROMPTS)
    return {
        "train": int(train.sum()),
        "eval": int(held_out.sum()),
        "dropped_duplicates": repeated,
        "dropped_near_duplicates": int(alike.sum()) - repeated,
        "dropped_too_long": int(long.mask.sum()),
        "dropped_contaminated": int(contaminated.mask.sum()),
    }


def _long_prompts(
    workspace: Workspace, pool: Pool, data: Data, template: Template, trust_remote_code: bool
) -> LongPrompts:
    if data.too_long == "refuse":  # stage `validate` refuses them
        return LongPrompts(pool, None, template.max_prompt_tokens)
    from tasks.prompts.prompt_template import load_prompt_template  # it takes seconds to import

    # The template that training uses: a limit on other text would drop other prompts.
    prompt_template = load_prompt_template(
        ModelRef(path=workspace.reference, trust_remote_code=trust_remote_code), template
    )
    return LongPrompts(pool, lambda prompt: len(prompt_template.encode(prompt)), template.max_prompt_tokens)


def _either(long: LongPrompts, contaminated: ContaminatedPrompts) -> Callable[[Mask], Mask]:
    def unfit(candidates: Mask) -> Mask:
        too_long = long(candidates)
        return too_long | contaminated(candidates & ~too_long)

    return unfit


def _choose(
    workspace: Workspace,
    pool: Pool,
    among: Mask,
    split: Split,
    data: Data,
    seed: int,
    unfit: Callable[[Mask], Mask],
) -> Mask:
    count = data.train_prompts if split == "train" else data.eval_prompts
    if data.source == "arithmetic":  # exactly as many were generated
        count = None
    try:
        chosen = choose(pool.ids, among, count, f"{split}/{seed}", unfit)
    except ValueError as error:
        raise InputError(workspace.params, str(error), field=f"data.{split}_prompts") from None
    if not chosen.any():
        reason = ": all are longer than template.max_prompt_tokens or contaminated" if among.any() else ""
        problem = f"no {split} prompt is left of {among.sum()}{reason}"
        raise InputError(workspace.params, problem, field="data")
    return chosen


def _rows(pool: Pool, train: Mask, held_out: Mask) -> Iterator[pa.RecordBatch]:
    position = PROMPTS.get_field_index("split")
    for split, chosen in (("train", train), ("eval", held_out)):
        for _, batch in pool.batches(chosen):
            yield batch.set_column(position, PROMPTS.field(position), pa.array([split] * batch.num_rows))
