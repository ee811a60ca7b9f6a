"""Evaluate the champion on the evaluation prompts of the policy that may replace it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from apo_core.config import Params
from apo_core.config.file import load_template_section
from apo_core.errors import ApoError, InputError
from apo_core.evaluation.comparison import sampled_rewards
from apo_core.model.directory import ModelRef
from apo_core.tables import EVALUATIONS, read_metadata, read_table
from tasks.integrity.run_artifacts import EVALUATIONS as RECORDED_EVALUATIONS
from tasks.integrity.run_artifacts import PARAMS, DamagedArtifact, take_artifact
from tasks.prompts.prompt_template import load_prompt_template
from tasks.prompts.table import read_split, to_questions
from tasks.responses.conditions import evaluation_conditions, prompt_order
from tasks.responses.evaluator import Evaluator
from tasks.responses.scoring import error_budget, scorer_of
from tasks.responses.shards import open_work
from tasks.tracking.registry import Registered, download_model
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Parts of the fingerprint that two evaluations must share to be paired. Each policy has its own template.
_SHARED = ("prompts", "sampler", "verifier")


def champion_rewards(
    client: MlflowClient, workspace: Workspace, params: Params, current: Registered
) -> pd.DataFrame:
    """Rewards of the champion's samples on the held-out prompts, as `sampled_rewards` has them.

    Taken from the evaluation of its own run if that was made under the same conditions and is whole, else
    evaluated now.

    Raises:
        ApoError: its model is gone or damaged, or the configuration of its run is gone.
    """
    workspace.state.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=workspace.state, prefix="champion-") as directory:
        scratch = Path(directory)
        rows = _own_evaluation(client, workspace, current, scratch)
        if rows is None:
            return sampled_rewards(_evaluate(client, workspace, params, current, scratch), "champion")
        return sampled_rewards(rows, "policy")


def _own_evaluation(
    client: MlflowClient, workspace: Workspace, current: Registered, scratch: Path
) -> pd.DataFrame | None:
    """The rows of the champion's own evaluation.

    None if it is damaged or gone, or other conditions or an older version made it.
    """
    conditions = _conditions(workspace.evaluations)
    try:
        table = take_artifact(client, current.run_id, RECORDED_EVALUATIONS, scratch)
        if table is None or _conditions(table) != conditions:
            return None
        return read_table(table, EVALUATIONS)
    except (DamagedArtifact, InputError):  # an InputError: without a column that it has today
        return None


def _conditions(table: Path) -> dict[str, Any]:
    fingerprint = read_metadata(table).get("fingerprint", {})
    return {name: fingerprint.get(name) for name in _SHARED}


def _evaluate(
    client: MlflowClient, workspace: Workspace, params: Params, current: Registered, scratch: Path
) -> pd.DataFrame:
    """Sampled responses of the champion to the workspace's held-out prompts, table `tables.EVALUATIONS`."""
    directory = download_model(client, current, scratch / "model")
    own_params = take_artifact(client, current.run_id, PARAMS, scratch)
    if own_params is None:
        raise ApoError(f"its MLflow run {current.run_id} has no artifact {PARAMS}")
    prompts = read_split(workspace, "eval")
    count = params.evaluation.samples * len(prompts)
    work = open_work(
        workspace.work("champion"),
        {
            **_conditions(workspace.evaluations),
            **evaluation_conditions(params.seed, params.verifier, params.sampler, params.evaluation),
            "champion": f"{current.name}/{current.version}/{current.run_id}",
            "order": prompt_order(prompts),
        },
    )
    prompt_template = load_prompt_template(
        ModelRef(path=directory, trust_remote_code=params.trust_remote_code),
        load_template_section(own_params),
    )
    with scorer_of(
        params.verifier, workspace.raw_verifiers, rows=count, prompt_template=prompt_template, shaped=False
    ) as scorer:
        evaluator = Evaluator(
            questions=to_questions(prompts),
            work=work,
            scorer=scorer,
            inspect=error_budget(params.verifier, rows=count),
            seed=params.seed,
            trust_remote_code=params.trust_remote_code,
            generation=params.generation,
            sampler=params.sampler,
            evaluation=params.evaluation,
        )
        return evaluator.evaluate("champion", directory, prompt_template, greedy=False, reference=None)
