"""Evaluate the champion on the evaluation prompts of the policy that may replace it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from apo_core.config import Params
from apo_core.config.file import load_template_section
from apo_core.errors import ApoError
from apo_core.evaluation.comparison import per_prompt
from apo_core.model.directory import ModelRef
from apo_core.tables import EVALUATIONS, read_metadata, read_table
from tasks.prompts.inputs import order_of, questions_of, read_split
from tasks.prompts.template import encoder_of
from tasks.responses.evaluator import Asking
from tasks.responses.scoring import scorer_of, spending
from tasks.responses.shards import open_work
from tasks.tracking.registry import Registered, download_artifact, download_model
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Parts of the fingerprint that two evaluations must share to be paired. Each policy has its own template.
_SHARED = ("prompts", "sampler", "verifier")


def champion_accuracy(
    client: MlflowClient, workspace: Workspace, params: Params, current: Registered
) -> pd.Series[float]:
    """Mean reward of the champion's samples on each held-out prompt, by prompt_id.

    Taken from the evaluation of its own run if that was made under the same conditions, else evaluated now.

    Raises:
        ApoError: its model or the configuration of its run is gone.
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
    prompts = read_split(workspace, "eval")
    asking = Asking(
        params.seed,
        params.trust_remote_code,
        params.verifier,
        params.generation,
        params.sampler,
        params.evaluation,
    )
    count = params.evaluation.samples * len(prompts)
    work = open_work(
        workspace.work("champion"),
        {
            **_conditions(workspace.evaluations),
            **asking.conditions(),
            "champion": f"{current.name}/{current.version}/{current.run_id}",
            "order": order_of(prompts),
        },
    )
    with scorer_of(params.verifier, workspace.raw_verifiers, rows=count) as scorer:
        model = ModelRef(path=directory, trust_remote_code=params.trust_remote_code)
        return asking.ask(
            questions_of(prompts),
            work,
            name=f"champion-{current.version}",
            policy="policy",
            directory=directory,
            encoder=encoder_of(model, load_template_section(own)),
            scorer=scorer,
            inspect=spending(params.verifier, rows=count),
            greedy=False,
            reference=None,
        )
