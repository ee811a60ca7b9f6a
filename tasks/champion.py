"""The policy in production, on the evaluation prompts of the one that wants its place."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from apo_core.config import Params
from apo_core.config.file import load_template_section
from apo_core.errors import ApoError
from apo_core.evaluation import per_prompt
from apo_core.models import load_policy
from apo_core.sampling.scored import Question, sample_and_score
from apo_core.tables import EVALUATIONS, read_metadata, read_table
from apo_core.tokenization import stop_ids
from tasks.encoder import encoder_of
from tasks.evaluate import evaluation_row
from tasks.inputs import order_of, questions_of, read_split
from tasks.registry import Registered, download_artifact, download_model
from tasks.resume import open_work, run_shards
from tasks.samplers import engine_of, open_sampler
from tasks.scoring import limits_of, scorer_of, spending
from tasks.workers import in_turn
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient

# What two evaluations must share for their prompts to be paired. The template is each policy's own.
_SHARED = ("prompts", "sampler", "verifier")


def champion_accuracy(
    client: MlflowClient, workspace: Workspace, params: Params, current: Registered
) -> pd.Series[float]:
    """Mean reward of the champion's samples on each held-out prompt, by prompt_id.

    Taken from the evaluation of its own run where that asked the same, else the champion is asked now.

    Raises:
        ApoError: its model or the configuration of its run cannot be had any more.
    """
    workspace.state.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=workspace.state, prefix="champion-") as directory:
        scratch = Path(directory)
        table = download_artifact(client, current.run_id, "tables/evaluations.parquet", scratch)
        if table is None or _conditions(table) != _conditions(workspace.evaluations):
            return per_prompt(_ask(client, workspace, params, current, scratch), "policy")
        return per_prompt(read_table(table, EVALUATIONS), "policy")


def _conditions(table: Path) -> dict[str, Any]:
    fingerprint = read_metadata(table).get("fingerprint", {})
    return {name: fingerprint.get(name) for name in _SHARED}


def _ask(
    client: MlflowClient, workspace: Workspace, params: Params, current: Registered, scratch: Path
) -> pd.DataFrame:
    """Sampled responses of the champion to the workspace's held-out prompts, table `tables.EVALUATIONS`."""
    directory = download_model(current, scratch)
    own = download_artifact(client, current.run_id, "lineage/params.yaml", scratch)
    if own is None:
        raise ApoError(f"its MLflow run {current.run_id} has no lineage/params.yaml")
    encoder = encoder_of(directory, load_template_section(own), params.trust_remote_code)
    rules, generation = params.evaluation, params.generation
    trusted = params.trust_remote_code
    prompts = read_split(workspace, "eval")
    count = rules.samples * len(prompts)
    longest = max(len(encoder.encode(prompt)) for prompt in prompts["prompt"])

    def shard(asked: list[Question]) -> pd.DataFrame:
        scored = sample_and_score(
            asked,
            rules.samples,
            sampler=engine,
            template=encoder,
            scorer=scorer,
            max_new_tokens=generation.max_new_tokens,
            temperature=generation.temperature,
            key=f"evaluate/{params.seed}",
        )
        rows = [evaluation_row("policy", one, None, greedy=False) for one in scored]
        return pd.DataFrame(rows).astype({"reward": "float64", "log_ratio": "float64"})

    work = open_work(
        workspace.work("champion"),
        {
            "champion": f"{current.name}/{current.version}/{current.run_id}",
            **_conditions(workspace.evaluations),
            "order": order_of(prompts),
            "engine": engine_of(params.sampler),
            "limits": limits_of(params.verifier),
            "evaluation": rules.model_dump(mode="json"),
            "seed": params.seed,
        },
    )
    with (
        scorer_of(params.verifier, workspace.raw_verifiers, rows=count) as scorer,
        open_sampler(
            params.sampler,
            directory,
            partial(load_policy, directory, dtype=rules.dtype, trust_remote_code=trusted),
            encoder.tokenizer,
            dtype=rules.dtype,
            batch_size=rules.batch_size,
            stop=stop_ids(encoder.tokenizer, generation.stop_character),
            max_length=longest + generation.max_new_tokens,
            trust_remote_code=trusted,
        ) as engine,
    ):
        return run_shards(
            work,
            questions_of(prompts),
            in_turn(shard),
            shard_size=max(1, rules.batch_size // rules.samples),
            schema=EVALUATIONS,
            name=f"champion-{current.version}",
            inspect=spending(params.verifier, rows=count),
        )
