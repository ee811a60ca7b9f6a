"""Ask a policy that passed its evaluation afresh, and with it the reference and the champion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from apo_core.errors import ApoError, StageRefused
from apo_core.system.files import remove, sha256_of
from apo_core.tables import EVALUATIONS, read_metadata, read_table
from tasks.dvc.run import run_process
from tasks.integrity.run_artifacts import CONFIRMATION, PARAMS, record_hash, take_artifact
from tasks.responses.confirmation import (
    MODEL,
    MODEL_PARAMS,
    OF_CHAMPION,
    Request,
    answers,
    champion_files,
)
from tasks.tracking.model_files import is_gone
from tasks.tracking.registry import Registered, download_model
from tasks.workspace import CONFIRM, Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient


class ChampionLost(ApoError):
    """The champion cannot be asked: its model is gone or damaged, or the configuration of its run is gone."""


def ask_afresh(
    client: MlflowClient,
    workspace: Workspace,
    *,
    policy_sha256: str,
    current: Registered | None,
    log: Callable[[str], None],
) -> pd.DataFrame:
    """Sampled responses to the held-out prompts, table `tables.EVALUATIONS`, from shards that survive a kill.

    Args:
        client: of the registry.
        workspace: its policy is the one that passed.
        policy_sha256: hash of that policy.
        current: the champion, which answers with its own template; None if there is no champion.
        log: is given every line of output as it comes.

    Returns:
        Rows of `policy`, `reference` and, with a champion, `champion`.

    Raises:
        ChampionLost: the champion cannot be asked.
        StageRefused: something else that trying again cannot help, such as a verifier that fails too often.
        StageFailed: the process ended otherwise.
    """
    champion = None if current is None else f"{current.name}/{current.version}/{current.run_id}"
    request = Request(policy_sha256=policy_sha256, champion=champion)
    remove(champion_files(workspace))
    try:
        if current is not None:
            _take_champion(client, current, champion_files(workspace))
        request.write(workspace)
        run_process(workspace.root, CONFIRM, log)
    except StageRefused as refusal:
        if current is None or OF_CHAMPION not in str(refusal):
            raise
        raise _lost(current, refusal) from refusal
    finally:
        remove(champion_files(workspace))
    if read_metadata(answers(workspace)) != asdict(request):
        raise ApoError(f"{answers(workspace)}: expected the answers to {request}, found others")
    return read_table(answers(workspace), EVALUATIONS)


def keep_with_run(client: MlflowClient, run_id: str, workspace: Workspace) -> str:
    """Attach the answers to the run that the policy is registered by, with their hash, which is returned."""
    digest = sha256_of(answers(workspace))
    client.log_artifact(run_id, str(answers(workspace)), str(Path(CONFIRMATION).parent))
    record_hash(client, run_id, CONFIRMATION, digest)
    return digest


def _lost(current: Registered, error: Exception) -> ChampionLost:
    return ChampionLost(f"the champion (version {current.version}) cannot be evaluated: {error}")


def _take_champion(client: MlflowClient, current: Registered, directory: Path) -> None:
    """Download the champion's model and the parameters of its run, compared with their hashes."""
    from mlflow.exceptions import MlflowException

    try:
        model = download_model(client, current, directory / "download")
        params = take_artifact(client, current.run_id, PARAMS, directory)
        if params is None:
            raise ApoError(f"its MLflow run {current.run_id} has no artifact {PARAMS}")
    except (ApoError, MlflowException) as error:
        if isinstance(error, MlflowException) and not is_gone(error):  # the server may be back in a minute
            raise
        raise _lost(current, error) from error
    model.rename(directory / MODEL)
    params.rename(directory / MODEL_PARAMS)
