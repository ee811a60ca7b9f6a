"""A registry on MLflow's own SQLite store, of policies that are no more than two files."""

from pathlib import Path

import pytest
from builders import as_logged_model

from apo_core.system.files import sha256_of
from tasks.decisions import rebuild
from tasks.decisions.log import open_log
from tasks.integrity import versions
from tasks.tracking import registry
from tasks.tracking.model_files import hashes_in
from tasks.tracking.runs import experiment_of
from tasks.workspace import Workspace


@pytest.fixture(scope="module")
def registry_workspace(tmp_path_factory):
    """A workspace in whose registry every test has a model of its own: making a store takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "APO_AUDIT_URI"):
            patch.delenv(name, raising=False)
        yield Workspace(tmp_path_factory.mktemp("registry"))


@pytest.fixture
def log(registry_workspace, request):
    return open_log(registry_workspace, request.node.name.replace("/", "-"))


@pytest.fixture
def policy(tmp_path):
    directory = tmp_path / "policy"
    directory.mkdir()
    (directory / "config.json").write_text("{}")
    (directory / "model.safetensors").write_bytes(bytes(range(100)))
    return directory


@pytest.fixture
def register(registry_workspace, log, policy, tmp_path, monkeypatch):
    """Registers the policy; `damage` gets its files at MLflow before it is registered."""
    from mlflow.entities import LoggedModelOutput

    experiment = experiment_of(log.client, registry_workspace, "e")
    damages = []

    def log_policy(directory, run_id):
        model = log.client.create_logged_model(experiment, name="policy", source_run_id=run_id)
        files = as_logged_model(directory, tmp_path / model.model_id)
        log.client.log_model_artifacts(model.model_id, str(files))
        log.client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])
        for damage in damages:
            damage(Path(model.artifact_location.removeprefix("file://")))
        return f"models:/{model.model_id}"

    def log_again(client, directory, address, scratch):
        client.log_model_artifacts(address.removeprefix("models:/"), str(as_logged_model(directory, scratch)))
        return hashes_in(scratch)

    def registered(damage=None):
        damages[:] = [] if damage is None else [damage]
        run_id = log.client.create_run(experiment).info.run_id
        return registry.register(
            log.client, policy, name=log.model, run_id=run_id, policy_sha256=sha256_of(policy), tags={}
        )

    monkeypatch.setattr(registry, "log_policy", log_policy)
    monkeypatch.setattr(rebuild, "log_policy", log_policy)
    monkeypatch.setattr(versions, "log_policy_again", log_again)
    return registered
