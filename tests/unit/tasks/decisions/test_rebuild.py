"""A lost version comes back under its own number, or it is said that it does not; never under another."""

import shutil
from contextlib import nullcontext

import pytest
from builders import files_of_version, flip_a_byte

from apo_core.config import Promotion
from apo_core.system.files import sha256_of
from tasks.decisions import decide, rebuild
from tasks.decisions.rebuild import lost_versions
from tasks.tracking.model_files import FILES_TAG, POLICY_TAG
from tasks.tracking.registry import check_model, find, register_logged, tags_of, versions_of

pytestmark = pytest.mark.slow  # MLflow makes a store
RULES = Promotion(
    min_prompts=1, min_gain=0.0, max_kl=1.0, approval="auto", four_eyes=False, approval_hours=72.0
)


@pytest.fixture
def dvc(monkeypatch):
    """The policies that DVC keeps, by their hashes; none at first."""
    kept = {}

    def take(policy_sha256, stores, target):
        if policy_sha256 in kept:
            shutil.copytree(kept[policy_sha256], target)
        return policy_sha256 in kept

    monkeypatch.setattr(rebuild, "opened", lambda *_: nullcontext())
    monkeypatch.setattr(rebuild, "take_policy", take)
    return kept


@pytest.fixture
def champions(log, register, policy, dvc):
    """Three versions that were champion in turn; returns their hashes."""
    hashes = []
    for byte in (1, 2, 3):
        (policy / "model.safetensors").write_bytes(bytes([byte] * 100))
        registered = register()
        tags = tags_of(log.client, registered)
        evidence = {"run_id": registered.run_id, **{tag: tags[tag] for tag in (POLICY_TAG, FILES_TAG)}}
        decide.propose(log, registered, RULES, started_by="Ada", evidence=evidence)
        hashes.append(sha256_of(policy))
    return hashes


def delete(log, *versions):
    for version in versions:
        log.client.delete_model_version(log.model, version)


def reconcile(log, workspace):
    return rebuild.rebuild(log, workspace, "e") + decide.reconcile(log)


def policies(log):
    versions = versions_of(log.client, log.model)
    return {number: versions[number].tags[POLICY_TAG] for number in sorted(versions)}


def test_where_no_version_is_left_all_come_back(log, champions, registry_workspace):
    log.client.set_registered_model_tag(log.model, "owner", "Ada")
    log.client.update_registered_model(log.model, "sums")
    delete(log, "1", "2", "3")
    lines = reconcile(log, registry_workspace)
    assert lines[:3] == [f"{log.model}: version {number} is there again" for number in (1, 2, 3)]
    assert policies(log) == dict(zip("123", champions, strict=True))
    model = log.client.get_registered_model(log.model)
    assert (model.tags["owner"], model.description) == ("Ada", "sums")
    assert {alias: str(number) for alias, number in model.aliases.items()} == {
        "champion": "3",
        "candidate": "3",
    }
    for number in "123":
        check_model(log.client, find(log.client, log.model, number))
    assert lost_versions(log) == []


def test_a_number_that_mlflow_does_not_give_again_is_not_said_to_be_back(log, champions, registry_workspace):
    delete(log, "3")
    assert lost_versions(log) == [3]
    lines = reconcile(log, registry_workspace)
    assert lines[0].startswith(f"{log.model}: version 3 stays lost: MLflow gives")
    assert lines[1].startswith(f"{log.model}: there is no champion: `apo rollback {log.model} ")
    assert policies(log) == dict(zip("12", champions, strict=False))
    assert lost_versions(log) == []  # runs go on
    assert rebuild.rebuild(log, registry_workspace, "e") == []
    delete(log, "1", "2")  # numbers begin again
    assert [line[-14:] for line in rebuild.rebuild(log, registry_workspace, "e")] == ["is there again"] * 3
    assert policies(log) == dict(zip("123", champions, strict=True))


@pytest.mark.parametrize("calls", [0, 1, 2, 3])
def test_one_that_is_killed_is_completed_by_the_next(log, champions, registry_workspace, monkeypatch, calls):
    shutil.rmtree(files_of_version(log, "2"))  # nobody has version 2
    log.client.delete_registered_model(log.model)
    done = []

    def kill(*arguments):
        if len(done) == calls:
            raise KeyboardInterrupt
        done.append(arguments)
        return register_logged(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(rebuild, "register_logged", kill)
        patch.setattr(rebuild, "_delete_placeholders", kill)
        rebuild.rebuild(log, registry_workspace, "e")
    reconcile(log, registry_workspace)
    assert policies(log) == {"1": champions[0], "3": champions[2]}
    assert log.client.get_model_version_by_alias(log.model, "champion").tags[POLICY_TAG] == champions[2]
    assert lost_versions(log) == []


def test_a_damaged_model_is_passed_over_for_another_copy(
    log, champions, registry_workspace, policy, dvc, tmp_path
):
    flip_a_byte(files_of_version(log, "3") / "model/model.safetensors")
    flip_a_byte(files_of_version(log, "2") / "components/tokenizer/tokenizer.json")
    shutil.copytree(policy, tmp_path / "kept")
    dvc[champions[2]] = tmp_path / "kept"
    delete(log, "1", "2", "3")
    lines = reconcile(log, registry_workspace)
    assert [line.split(": ", 1)[1] for line in lines[:3]] == [
        "version 1 is there again",
        "version 2 stays lost: neither MLflow's runs nor DVC have its policy",
        "version 3 is there again",
    ]
    assert policies(log) == {"1": champions[0], "3": champions[2]}
    check_model(log.client, find(log.client, log.model, "3"))
