"""A byte that changes without a trace, in every place that has copies: found, named, and mended."""

import json
import re
import shutil
import sqlite3
from pathlib import Path

import pytest
from builders import execute, flip_a_byte
from mlflow import MlflowClient

from tasks.integrity.recorded import recorded_outputs
from tasks.workspace import Workspace

HASHES = r"md5 [0-9a-f]{32}(\.dir)? is recorded, found [0-9a-f]{32}"
POLICY = "data/policy/model.safetensors"


def cached(workspace: Path, path: str) -> Path:
    """DVC's copy of a file."""
    name = Path(path).name
    (output,) = [
        o for o in recorded_outputs(Workspace(workspace)) if o.path in (path, str(Path(path).parent))
    ]
    md5, cache = output.md5, workspace / ".dvc/cache/files/md5"
    if output.is_directory:
        listed = json.loads((cache / md5[:2] / md5[2:]).read_text())
        md5 = next(row["md5"] for row in listed if row["relpath"] == name)
    return cache / md5[:2] / md5[2:]


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ("data/values.parquet", "values"),
        pytest.param("data/samples.parquet", "sample", marks=pytest.mark.production),
        pytest.param(POLICY, "train", marks=pytest.mark.production),
        pytest.param("data/reference/model.safetensors", "reference", marks=pytest.mark.production),
        pytest.param("data/reference/tokenizer.json", "reference", marks=pytest.mark.production),
    ],
)
def test_a_byte_of_the_workspace_is_found_and_put_back(workspace, path, stage):
    before = (workspace / path).read_bytes()
    execute("apo status", workspace)  # DVC knows the file from now on, and looks at its time and size only
    flip_a_byte(workspace / path)
    refused = execute("apo run", workspace, check=False)
    assert refused.returncode == 2
    assert re.search(
        f"{re.escape(path)}: is not what stage {stage} wrote: {HASHES}; `apo fsck`", refused.stdout
    )
    looked = execute("apo fsck --look", workspace, check=False)
    assert looked.returncode == 1
    assert re.search(
        f"workspace: {re.escape(path)}: is not what stage .*\n    to do: `apo fsck`", looked.stdout
    )
    assert (workspace / path).read_bytes() != before
    execute("apo fsck", workspace)
    assert (workspace / path).read_bytes() == before
    assert "everything is as it is recorded" in execute("apo fsck", workspace).stdout
    (aside,) = (workspace / ".apo/damaged").glob(f"*/workspace/{path}")
    assert aside.read_bytes() != before


@pytest.mark.production
def test_what_dvc_restores_damaged_is_not_registered(workspace):
    before = (workspace / POLICY).read_bytes()
    flip_a_byte(cached(workspace, POLICY))
    shutil.rmtree(workspace / "data/policy")
    refused = execute("apo run", workspace, check=False)
    assert refused.returncode == 2
    assert re.search(
        f"{POLICY}: is not what stage train wrote: {HASHES}; so was the copy in DVC's", refused.stdout
    )
    assert not MlflowClient(f"sqlite:///{workspace}/.apo/mlflow.db").search_registered_models()
    unmended = execute("apo fsck", workspace, check=False)
    assert unmended.returncode == 1
    assert "apo run --force train" in unmended.stdout
    execute("apo run --force train", workspace)
    assert (workspace / POLICY).read_bytes() == before
    assert cached(workspace, POLICY).read_bytes() == before
    execute("apo fsck", workspace)


def test_dvcs_copies_are_made_whole_by_those_of_the_workspace_and_the_remote(workspace, tmp_path):
    execute(f"dvc remote add --default store {tmp_path}/store && dvc push", workspace)
    on_remote = tmp_path / "store/files/md5"
    damaged = [cached(workspace, path) for path in ("data/values.parquet", POLICY)]
    remote = on_remote / cached(workspace, POLICY).relative_to(workspace / ".dvc/cache/files/md5")
    whole = {file: file.read_bytes() for file in (*damaged, remote)}
    for file in whole:
        flip_a_byte(file)
    shown = execute("apo fsck", workspace).stdout
    assert {file: file.read_bytes() for file in whole} == whole
    assert "remote" in shown
    # Of an earlier run: the workspace does not have it any more.
    earlier = cached(workspace, "data/values.parquet")
    lock = workspace / "dvc.lock"
    lock.write_text(re.sub(r"  values:\n(    .*\n)+", "", lock.read_text()))
    flip_a_byte(earlier)
    assert "of an earlier run" in execute("apo fsck", workspace).stdout
    assert earlier.read_bytes() == whole[earlier]


@pytest.mark.production
def test_the_registrys_copy_is_never_used_damaged_and_is_sent_again(workspace):
    execute("apo run --set promotion.approval=manual", workspace)
    (files,) = (workspace / ".apo/mlartifacts/models").glob("*/artifacts")
    approve = "apo approve apo-ci 1 --by Ada --reason good"
    for name in ("model/model.safetensors", "components/tokenizer/tokenizer.json", "MLmodel"):
        before = (files / name).read_bytes()
        flip_a_byte(files / name)
        refused = execute(approve, workspace, check=False)
        assert refused.returncode == 2
        assert re.search(r"its files are not what was registered: \w+_sha256 \w+ is rec", refused.stdout)
        shown = execute("apo fsck --look", workspace, check=False)
        assert shown.returncode == 1
        assert "its files are not what was registered" in shown.stdout
        assert "replaced by whole files" in execute("apo fsck", workspace).stdout
        after = (files / name).read_bytes()
        times = rb"utc_time_created.*|source_model_name.*"
        assert re.sub(times, b"", after) == re.sub(times, b"", before)
    assert execute("apo fsck --look", workspace).stdout == "everything is as it is recorded\n"
    execute(approve, workspace)


@pytest.mark.production
def test_a_damaged_database_is_named(workspace):
    execute("apo run", workspace)
    file = workspace / ".apo/mlflow.db"
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(file.read_bytes())
    content[5000:60000] = bytes(55000)
    file.write_bytes(content)
    shown = execute("apo fsck", workspace, check=False)
    assert shown.returncode != 0
    assert "mlflow.db" in shown.stdout
