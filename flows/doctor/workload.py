"""How much a run has to do: numbers of prompts and lengths, as far as the workspace knows them by now."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import islice
from math import ceil

from apo_core.config import Params
from apo_core.config.file import load_params
from apo_core.errors import ApoError
from tasks.workspace import Workspace

_TRAIN_PROMPTS, _EVAL_PROMPTS = 7_500, 5_000  # of MATH, where nothing is known; GSM8K has 7,473 and 1,319
_MOST_COUNTED = 200_000  # rows of files that have not been prepared
# Of the limit. A mean response of 512 of 1,024 tokens is on the long side of what Qwen2.5 writes on MATH.
_RESPONSE_SHARE = 0.5
_PROMPT_SHARE = 0.4  # MATH: about 100 of 256 tokens


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Numbers of prompts and mean lengths, and where they are from."""

    train_prompts: int
    kept_prompts: int  # that stage 2 trains on
    eval_prompts: int
    responses_per_prompt: float  # in stage 1
    prompt_tokens: float
    response_tokens: float
    source: str

    def steps(self, params: Params) -> int:
        """Of training."""
        train = params.train
        return train.steps or ceil((train.epochs or 0) * self.kept_prompts / train.batch_size)


def workload_of(workspace: Workspace, params: Params, response_tokens: int | None = None) -> Workload:
    """What the tables of the workspace say, then its files of prompts, then what is assumed.

    Args:
        workspace: may be empty; tables of another task than the configuration's say nothing of it.
        params: the configuration.
        response_tokens: the mean length of a response, in place of what is known.
    """
    own = _is_of_task(workspace, params)
    counts, source = _prompts(workspace, params, own)
    limit = params.generation.max_new_tokens
    workload = Workload(
        train_prompts=counts["train"],
        kept_prompts=counts["train"],
        eval_prompts=counts["eval"],
        responses_per_prompt=params.sampling.n,
        prompt_tokens=_PROMPT_SHARE * params.template.max_prompt_tokens,
        response_tokens=_RESPONSE_SHARE * limit,
        source=f"{source}; responses of {_RESPONSE_SHARE:.0%} of {limit} tokens assumed{_at_most(params)}",
    )
    if own and workspace.samples.exists():
        workload = _with_samples(workspace, workload, source)
    if own and workspace.values.exists():
        workload = replace(workload, kept_prompts=_kept(workspace))
    if response_tokens is not None:
        workload = replace(
            workload,
            response_tokens=min(response_tokens, limit),
            source=f"{source}; responses of {min(response_tokens, limit)} tokens, as asked",
        )
    return workload


def _at_most(params: Params) -> str:
    """Adaptive sampling asks for fewer, but nobody knows yet how many fewer."""
    if params.sampling.adaptive is None:
        return ""
    return f", {params.sampling.n} for every prompt, the most there can be"


def _is_of_task(workspace: Workspace, params: Params) -> bool:
    """Whether the workspace's tables are of this configuration's prompts and model."""
    if not workspace.params.exists():
        return True
    own = load_params(workspace.params)
    return (own.data, own.template, own.reference) == (params.data, params.template, params.reference)


def _prompts(workspace: Workspace, params: Params, own: bool) -> tuple[dict[str, int], str]:
    """Prompts by split, and who says so."""
    data = params.data
    if own and workspace.prompts.exists():
        return _prepared(workspace), "prompts as prepared"
    if data.train_prompts and data.eval_prompts:
        return {"train": data.train_prompts, "eval": data.eval_prompts}, "prompts as configured"
    counted = _in_files(workspace, params)
    if counted["train"] and counted["eval"]:
        return counted, "prompts as in the files"
    return {"train": _TRAIN_PROMPTS, "eval": _EVAL_PROMPTS}, "as many prompts as MATH has assumed"


def _prepared(workspace: Workspace) -> dict[str, int]:
    from apo_core.tables import read_batches

    splits = Counter(
        split for batch in read_batches(workspace.prompts, ["split"]) for split in batch["split"].to_pylist()
    )
    return {"train": splits["train"], "eval": splits["eval"]}


def _in_files(workspace: Workspace, params: Params) -> dict[str, int]:
    """None where the files are missing or cannot be read: another finding says so."""
    from tasks.prompts.sources import named_prompts

    splits: Counter[str] = Counter()
    if params.data.source == "files" and workspace.raw_prompts.is_dir():
        try:
            prompts = islice(named_prompts(workspace.raw_prompts, params.data, params.seed), _MOST_COUNTED)
            splits.update(prompt.split for prompt in prompts)
        except ApoError:
            splits.clear()
    return {"train": splits["train"], "eval": splits["eval"]}


def _with_samples(workspace: Workspace, workload: Workload, source: str) -> Workload:
    """The true mean length, and responses per prompt, of a finished stage 1."""
    import pyarrow.compute as pc

    from apo_core.tables import read_batches

    rows = tokens = 0
    for batch in read_batches(workspace.samples, ["token_ids"]):
        rows += batch.num_rows
        tokens += pc.sum(pc.list_value_length(batch["token_ids"])).as_py() or 0
    if not rows:
        return workload
    return replace(
        workload,
        responses_per_prompt=rows / workload.train_prompts,
        response_tokens=tokens / rows,
        source=f"{source}; responses as in stage 1, {tokens / rows:.0f} tokens",
    )


def _kept(workspace: Workspace) -> int:
    from apo_core.tables import VALUES, read_table

    return max(1, int(read_table(workspace.values, VALUES)["dropped"].isna().sum()))
