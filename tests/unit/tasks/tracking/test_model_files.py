"""The registry's files of a version are read before it is registered, proposed, approved or brought back."""

import pytest
from builders import files_of_version, flip_a_byte

from apo_core.config import Promotion
from apo_core.decisions.approval_rule import DecisionRefused
from apo_core.system.files import sha256_of
from tasks.decisions import decide
from tasks.integrity.versions import check_versions
from tasks.tracking import registry
from tasks.tracking.model_files import FILES_TAG, POLICY_TAG, DamagedModel, read_hashes
from tasks.tracking.registry import check_model, download_model, tags_of

pytestmark = pytest.mark.slow  # MLflow makes a store
WEIGHTS, TOKENIZER = "model/model.safetensors", "components/tokenizer/tokenizer.json"
RULES = Promotion(
    min_prompts=1, min_gain=0.0, max_kl=1.0, approval="manual", four_eyes=False, approval_hours=72.0
)


def propose(log, registered):
    decide.propose(log, registered, RULES, started_by="Ada", evidence={})


def test_both_hashes_are_recorded_and_a_file_that_mlflow_adds_does_not_count(log, register, policy, tmp_path):
    registered = register()
    tags = tags_of(log.client, registered)
    assert tags[POLICY_TAG] == sha256_of(policy)
    files = files_of_version(log)
    (files / "registered_model_meta").write_text("model_name: m")
    assert read_hashes(f"models:/{log.model}/1").tags() == tags
    assert sha256_of(download_model(log.client, registered, tmp_path / "down")) == tags[POLICY_TAG]


def test_what_was_not_evaluated_is_not_registered(log, register):
    with pytest.raises(DamagedModel, match="as MLflow keeps it: its files are not what was registered"):
        register(damage=lambda files: flip_a_byte(files / WEIGHTS))
    assert not registry.has_model(log.client, log.model)


@pytest.mark.parametrize("file", [WEIGHTS, TOKENIZER, "MLmodel"])
def test_a_damaged_version_is_not_decided_on_until_it_is_mended(
    registry_workspace, log, register, file, tmp_path
):
    registered = register()
    damaged = files_of_version(log) / file
    whole = damaged.read_bytes()
    flip_a_byte(damaged)
    with pytest.raises(DecisionRefused, match="its files are not what was registered"):
        propose(log, registered)
    assert log.read() == []
    damaged.write_bytes(whole)
    propose(log, registered)

    damaged.unlink()
    with pytest.raises(DecisionRefused, match="its files are not what was registered"):
        decide.decide(log, "1", "approve", by="Bob", reason="good")
    log.client.set_model_version_tag(log.model, "1", decide.BY_TAG, "Bob")
    log.client.set_model_version_tag(log.model, "1", decide.REASON_TAG, "good")
    log.client.set_model_version_tag(log.model, "1", decide.DECISION_TAG, "approve")
    (line,) = decide.reconcile(log)
    assert "refused" in line
    with pytest.raises(DamagedModel, match=r"not what was registered|has lost its model"):
        download_model(log.client, registered, tmp_path / "down")
    assert [entry.event for entry in log.read()] == ["candidate"]

    (finding,) = check_versions(log.client, registry_workspace, log.model, [], mend=True)
    if file == WEIGHTS:  # no copy of the policy is left
        assert not finding.mended
        damaged.write_bytes(whole)
    else:
        assert finding.mended
    assert list(check_versions(log.client, registry_workspace, log.model, [], mend=False)) == []
    assert decide.decide(log, "1", "approve", by="Bob", reason="good").event == "approved"
    assert FILES_TAG in tags_of(log.client, registered)


def test_nobody_goes_back_to_a_damaged_version(log, register, policy):
    for byte in (1, 2):
        (policy / "model.safetensors").write_bytes(bytes([byte] * 100))
        propose(log, register())
        decide.decide(log, str(byte), "approve", by="Bob", reason="good")
    flip_a_byte(files_of_version(log) / WEIGHTS)
    with pytest.raises(DecisionRefused, match=f"models:/{log.model}/1: its files are not"):
        decide.roll_back(log, None, by="Bob", reason="bad")
    assert log.state().champion == "2"
    flip_a_byte(files_of_version(log) / WEIGHTS)
    assert decide.roll_back(log, None, by="Bob", reason="bad").version == "1"


def test_what_a_server_keeps_is_read_file_by_file(log, register, monkeypatch):
    from mlflow.store.artifact import artifact_repository_registry

    registered = register()
    local = artifact_repository_registry.get_artifact_repository(files_of_version(log).as_uri())

    class OnServer:
        def list_artifacts(self, path):
            return local.list_artifacts(path)

        def download_artifacts(self, path, directory):
            return local.download_artifacts(path, directory)

    monkeypatch.setattr(artifact_repository_registry, "get_artifact_repository", lambda *_, **__: OnServer())
    check_model(log.client, registered)
    flip_a_byte(files_of_version(log) / TOKENIZER)
    with pytest.raises(DamagedModel, match="files_sha256 "):
        check_model(log.client, registered)
