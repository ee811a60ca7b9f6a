"""What a run attached is compared with what it recorded, wherever a decision or a command rests on it."""

import pandas as pd
import pytest
from builders import flip_a_byte

from apo_core.errors import ApoError
from apo_core.tables import EVALUATIONS as SCHEMA
from apo_core.tables import write_table
from tasks.integrity.recorded import md5_of
from tasks.integrity.run_artifacts import (
    EVALUATIONS,
    LOCK,
    PARAMS,
    REPORT,
    DamagedArtifact,
    hash_tags,
    problems_of_artifacts,
    send_artifact_again,
    take_artifact,
)
from tasks.integrity.versions import check_runs
from tasks.lineage.lineage import lineage_of
from tasks.lineage.restore import _record, _take
from tasks.tracking.registry import Registered
from tasks.tracking.store import connect
from tasks.workspace import Workspace

pytestmark = pytest.mark.slow  # MLflow makes a store


def evaluations(reward):
    columns = {
        **{name: ["a"] for name in ("prompt_id", "text", "finish_reason", "extracted", "reason", "parts")},
        **{"policy": ["policy"], "sample_index": [0], "reward": [reward], "log_ratio": [0.0]},
    }
    return pd.DataFrame(columns)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A workspace with a run that has attached its record, and the client."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "APO_AUDIT_URI"):
            patch.delenv(name, raising=False)
        workspace = Workspace(tmp_path_factory.mktemp("recorded"))
        for directory in ("data", "reports"):
            (workspace.root / directory).mkdir()
        write_table(workspace.evaluations, evaluations(1.0), SCHEMA, {"fingerprint": {}}, checksums=False)
        workspace.report.write_text("{}")
        workspace.params.write_text("seed: 1\n")
        workspace.lock.write_text(
            "stages:\n"
            "  evaluate:\n"
            f"    outs: [{{path: data/evaluations.parquet, md5: {md5_of(workspace.evaluations)}}}]\n"
            f"  report:\n    outs: [{{path: reports/report.json, md5: {md5_of(workspace.report)}}}]\n"
        )
        client = connect(workspace)
        experiment = client.create_experiment("e", (workspace.state / "mlartifacts").as_uri())
        run_id = client.create_run(experiment, tags=hash_tags(workspace)).info.run_id
        for own, artifact in (
            (workspace.lock, LOCK),
            (workspace.params, PARAMS),
            (workspace.report, REPORT),
            (workspace.evaluations, EVALUATIONS),
        ):
            client.log_artifact(run_id, str(own), artifact.split("/")[0])
        client.create_registered_model("m")
        client.create_model_version("m", "file:///nowhere", run_id=run_id)
        yield workspace, client, Registered(name="m", version="1", aliases=[], run_id=run_id)


@pytest.fixture(params=[LOCK, PARAMS, REPORT, EVALUATIONS])
def damaged(recorded, request):
    """The same, with a byte of one artifact flipped; mended afterwards."""
    workspace, _, registered = recorded
    file = workspace.state / "mlartifacts" / registered.run_id / "artifacts" / request.param
    whole = file.read_bytes()
    flip_a_byte(file)
    yield request.param, file, whole
    file.write_bytes(whole)


def test_a_whole_record_is_taken(recorded, tmp_path):
    _, client, registered = recorded
    assert take_artifact(client, registered.run_id, "tables/none", tmp_path) is None
    assert list(problems_of_artifacts(client, registered.run_id, tmp_path)) == []


def test_a_damaged_artifact_is_refused_by_all_and_sent_again(recorded, damaged, tmp_path):
    workspace, client, registered = recorded
    artifact, file, whole = damaged
    with pytest.raises(DamagedArtifact, match=f"{artifact}: is not what the run attached: .* is recorded"):
        take_artifact(client, registered.run_id, artifact, tmp_path)
    with pytest.raises(ApoError, match=artifact):
        _take(client, registered.run_id, _record(workspace) | {PARAMS: workspace.params, EVALUATIONS: file})
    if artifact in (LOCK, REPORT):
        with pytest.raises(ApoError, match=artifact):
            lineage_of(client, registered, [])

    (problem,) = check_runs(client, workspace, "m", [], mend=False)
    assert artifact in problem.problem
    assert file.read_bytes() != whole
    (mended,) = check_runs(client, workspace, "m", [], mend=True)
    assert mended.mended
    assert file.read_bytes() == whole


def test_a_lost_artifact_is_named_and_sent_again(recorded, tmp_path):
    workspace, client, registered = recorded
    file = workspace.state / "mlartifacts" / registered.run_id / "artifacts" / LOCK
    file.unlink()
    (problem,) = problems_of_artifacts(client, registered.run_id, tmp_path)
    assert problem == (LOCK, f"MLflow run {registered.run_id}: {LOCK}: is gone")
    assert send_artifact_again(client, workspace, registered.run_id, LOCK, [], tmp_path)
    assert list(problems_of_artifacts(client, registered.run_id, tmp_path)) == []


def test_a_copy_that_is_damaged_too_is_not_sent(recorded, damaged, tmp_path):
    workspace, client, _ = recorded
    artifact, _, _ = damaged
    own = {LOCK: workspace.lock, PARAMS: workspace.params, REPORT: workspace.report}.get(
        artifact, workspace.evaluations
    )
    flip_a_byte(own)
    try:
        (finding,) = check_runs(client, workspace, "m", [], mend=True)
    finally:
        flip_a_byte(own)
    assert not finding.mended
    assert "no whole copy is left" in finding.advice
    missing = list(problems_of_artifacts(client, "f" * 32, tmp_path))
    assert missing == [(LOCK, f"MLflow run {'f' * 32}: is gone")]
