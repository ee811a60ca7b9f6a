"""Fresh responses of a policy that passed, of the reference, and of the champion that it may replace.

An evaluation that a policy was chosen by flatters it: of many equal policies the luckiest passes, and would
keep its lucky table as champion. So nobody's earlier responses count here. The seed is the policy's own hash:
the same policy gets the same responses, however often and wherever it is asked again.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from apo_core.config import Params
from apo_core.config.file import load_template_section
from apo_core.errors import ApoError
from apo_core.model.directory import ModelRef
from apo_core.model.template import Template
from apo_core.tables import EVALUATIONS, read_metadata, write_table
from tasks.integrity.run_artifacts import PARAMS, take_artifact
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

ARTIFACT = "tables/confirmation.parquet"


def ask_afresh(
    client: MlflowClient,
    workspace: Workspace,
    params: Params,
    *,
    policy_sha256: str,
    current: Registered | None,
) -> pd.DataFrame:
    """Sampled responses to the held-out prompts, table `tables.EVALUATIONS`, from shards that survive a kill.

    Args:
        client: of the registry.
        workspace: its policy is the one that passed.
        params: of the workspace.
        policy_sha256: hash of that policy.
        current: the champion, if there is one that is not that policy; it answers with its own template.

    Returns:
        Rows of `policy`, `reference` and, with a champion, `champion`.

    Raises:
        ApoError: the champion's model is gone or damaged, or the configuration of its run is gone.
    """
    prompts = read_split(workspace, "eval")
    work = open_work(
        workspace.work("confirm"),
        {
            **read_metadata(workspace.evaluations).get("fingerprint", {}),
            **evaluation_conditions(params.seed, params.verifier, params.sampler, params.evaluation),
            "order": prompt_order(prompts),
            "policy": policy_sha256,
            "champion": "" if current is None else f"{current.name}/{current.version}/{current.run_id}",
        },
    )
    own = load_prompt_template(_model_ref(workspace.reference, params), params.template)
    asked = [("policy", workspace.policy, own), ("reference", workspace.reference, own)]
    workspace.state.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=workspace.state, prefix="champion-") as scratch:
        if current is not None:
            try:
                champion = _take_champion(client, params, current, Path(scratch))
            except ApoError as error:
                raise ApoError(
                    f"the champion (version {current.version}) cannot be evaluated: {error}"
                ) from error
            asked.append(("champion", *champion))
        count = len(asked) * params.evaluation.samples * len(prompts)
        with scorer_of(
            params.verifier, workspace.raw_verifiers, rows=count, prompt_template=own, shaped=False
        ) as scorer:
            evaluator = Evaluator(
                questions=to_questions(prompts),
                work=work,
                scorer=scorer,
                inspect=error_budget(params.verifier, rows=count),
                key=f"confirm/{policy_sha256}",
                trust_remote_code=params.trust_remote_code,
                generation=params.generation,
                sampler=params.sampler,
                evaluation=params.evaluation,
            )
            tables = [
                evaluator.evaluate(name, directory, template, greedy=False, reference=None)
                for name, directory, template in asked
            ]
    return pd.concat(tables, ignore_index=True)


def keep_with_run(client: MlflowClient, run_id: str, rows: pd.DataFrame) -> None:
    """Attach the responses to the run that the policy is registered by."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / Path(ARTIFACT).name
        write_table(file, rows, EVALUATIONS)
        client.log_artifact(run_id, str(file), str(Path(ARTIFACT).parent))


def _take_champion(
    client: MlflowClient, params: Params, current: Registered, scratch: Path
) -> tuple[Path, Template]:
    """The champion's model directory, downloaded and compared with its hashes, and its template."""
    directory = download_model(client, current, scratch / "model")
    own_params = take_artifact(client, current.run_id, PARAMS, scratch)
    if own_params is None:
        raise ApoError(f"its MLflow run {current.run_id} has no artifact {PARAMS}")
    return directory, load_prompt_template(_model_ref(directory, params), load_template_section(own_params))


def _model_ref(directory: Path, params: Params) -> ModelRef:
    return ModelRef(path=directory, trust_remote_code=params.trust_remote_code)
