"""DVC's remote on S3: a clean clone restores the outputs byte for byte."""

import re

import pytest
from builders import execute

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
