"""DVC's remote on S3: a clean clone restores the outputs byte for byte."""

import re

import pytest
from builders import execute

from apo_core.errors import StageRefused
from tasks.dvc.remote import pull
from tasks.integrity.recorded import recorded_outputs
from tasks.workspace import Workspace

pytestmark = pytest.mark.servers

MADE = ("data/values.parquet", "data/samples.parquet", "data/policy/model.safetensors", "reports/eval.json")


def test_a_clean_clone_restores_what_was_made(workspace, s3, tmp_path):
    before = {path: (workspace / path).read_bytes() for path in MADE}
    execute("dvc remote add --default storage s3://apo/dvc", workspace)
    execute("git add -A && git -c user.name=t -c user.email=t@t commit -qm all", workspace)
    execute("dvc push", workspace)
    clone = tmp_path / "clone"
    execute(f"git clone -q {workspace} {clone}", tmp_path)
    assert not [path for path in MADE if (clone / path).exists()]
    execute("dvc pull", clone)
    assert {path: (clone / path).read_bytes() for path in MADE} == before
    # Only the report, which DVC does not keep, is made again from the restored files.
    assert re.findall(r"^(\w+):", execute("dvc status", clone).stdout, re.M) == ["report"]
    # The commit contains no secret and no address of this server.
    committed = execute(
        "git grep -I -e secret -e 127.0.0.1 -- .dvc dvc.lock dvc.yaml params.yaml || true", clone
    )
    assert committed.stdout == ""


def test_a_byte_that_flips_on_s3_is_found_and_made_whole(workspace, s3, tmp_path):
    execute("dvc remote add --default storage s3://apo/flipped", workspace)
    execute("git add -A && git -c user.name=t -c user.email=t@t commit -qm all", workspace)
    execute("dvc push", workspace)
    (values,) = [
        output for output in recorded_outputs(Workspace(workspace)) if output.path == "data/values.parquet"
    ]
    at = {"Bucket": "apo", "Key": f"flipped/files/md5/{values.md5[:2]}/{values.md5[2:]}"}
    whole = s3.get_object(**at)["Body"].read()
    s3.put_object(**at, Body=whole[:-1] + bytes([whole[-1] ^ 1]))
    refused, again, verified = (tmp_path / name for name in ("refused", "again", "verified"))
    for clone in (refused, again, verified):
        execute(f"git clone -q {workspace} {clone}", tmp_path)
    problem = f"data/values.parquet: is not what stage values wrote: md5 {values.md5} is recorded, found "
    with pytest.raises(StageRefused, match=problem):
        pull(Workspace(refused), print, missing="refused")
    lines = []
    pull(Workspace(again), lines.append, missing="made again")
    assert [line for line in lines if line.startswith(problem)]
    assert not (again / "data/values.parquet").exists()
    assert (again / MADE[2]).read_bytes() == (workspace / MADE[2]).read_bytes()
    execute("dvc remote modify storage verify true", verified)
    assert execute("dvc pull", verified, check=False).returncode != 0
    looked = execute("apo fsck --look", workspace, check=False)
    assert looked.returncode == 1
    assert "remote" in looked.stdout
    execute("apo fsck", workspace)
    assert s3.get_object(**at)["Body"].read() == whole
