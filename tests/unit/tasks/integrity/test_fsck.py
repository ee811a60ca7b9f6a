"""What `apo fsck` finds in a workspace and its cache, and what it leaves alone."""

import errno
import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from builders import flip_a_byte

from apo_core.system.files import remove
from tasks.dvc.repo import WorkspaceBusy
from tasks.dvc.state import pending
from tasks.integrity import fsck as looking
from tasks.integrity.fsck import fsck
from tasks.integrity.recorded import md5_of


def look(workspace, *, mend=True):
    return list(fsck(workspace, "m", mend=mend))


def whole(workspace):
    """Whether nothing is to be said, and DVC calls nothing changed."""
    return not look(workspace) and not pending(workspace.root)


def cached(workspace, content):
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return workspace.root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]


@pytest.mark.parametrize("path", ["data/evaluations.parquet", "data/policy", "data/policy/sub/weights"])
def test_what_is_missing_is_put_back(workspace, path):
    before = md5_of(workspace.root / path)
    remove(workspace.root / path)
    assert {finding.mended for finding in look(workspace, mend=False)} == {""}
    findings = look(workspace)
    assert {finding.mended for finding in findings} == {"replaced by a whole copy"}
    assert f"{path}" in findings[0].problem
    assert findings[0].problem.endswith("found nothing")
    assert md5_of(workspace.root / path) == before
    assert whole(workspace)


def test_what_is_nowhere_any_more_is_said(workspace):
    workspace.evaluations.unlink()
    cached(workspace, b"good\n").unlink()
    (finding,) = look(workspace)
    assert finding.problem.startswith("data/evaluations.parquet: is not what stage evaluate wrote")
    assert (finding.mended, finding.advice) == ("", "`apo run`")


def test_a_directory_and_its_list_that_are_nowhere_any_more_are_said(workspace):
    shutil.rmtree(workspace.policy)
    shutil.rmtree(workspace.root / ".dvc/cache")
    assert any(
        finding.problem.startswith("data/policy: ") and not finding.mended for finding in look(workspace)
    )


def test_a_directory_is_put_back_whole_or_not_at_all(workspace):
    shutil.rmtree(workspace.policy)
    cached(workspace, b"w\n").unlink()
    (finding,) = look(workspace)
    assert finding.problem.startswith("data/policy: is not what stage train wrote")
    assert (finding.mended, finding.advice) == ("", "`apo run`")
    assert not workspace.policy.exists()


def test_a_file_in_the_place_of_a_directory_and_the_other_way_round(workspace):
    shutil.rmtree(workspace.policy)
    workspace.policy.write_text("mine")
    workspace.evaluations.unlink()
    workspace.evaluations.mkdir()
    assert all(finding.mended for finding in look(workspace))
    assert whole(workspace)
    (kept,) = (workspace.state / "damaged").glob("*/workspace/data/policy")
    assert kept.read_text() == "mine"


def test_a_whole_row_of_damaged_stages_is_mended_at_once(workspace):
    (workspace.policy / "config.json").write_text("another")  # with its time: DVC sees it
    workspace.evaluations.write_text("another")
    assert all(finding.mended == "replaced by a whole copy" for finding in look(workspace))
    assert whole(workspace)


def test_a_fresh_result_that_dvc_has_not_recorded_yet_is_left_alone(workspace):
    """A kill between the end of a stage and DVC's writing of dvc.lock."""
    definition = workspace.root / "dvc.yaml"
    definition.write_text(definition.read_text().replace("echo good", "echo better"))
    workspace.evaluations.write_text("better\n")
    (finding,) = look(workspace)
    assert finding.mended.startswith("left as it is: stage evaluate has other inputs")
    assert workspace.evaluations.read_text() == "better\n"
    assert not (workspace.state / "damaged").exists()


def test_while_a_stage_runs_nothing_is_looked_at(workspace):
    running = {"write": {str(workspace.policy): {"pid": os.getpid(), "cmd": "dvc repro"}}}
    (workspace.root / ".dvc/tmp/rwlock").write_text(json.dumps(running))
    with pytest.raises(WorkspaceBusy, match="DVC is at work here"):
        look(workspace)


def test_bytes_that_cannot_be_read_are_a_finding_like_others(workspace, monkeypatch):
    content = workspace.evaluations.read_bytes()
    own_open = Path.open

    def failing(file, *arguments, **options):
        if file == workspace.evaluations:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(file))
        return own_open(file, *arguments, **options)

    monkeypatch.setattr(Path, "open", failing)
    (finding,) = look(workspace)
    assert finding.problem.endswith("found unreadable: Input/output error")
    assert finding.mended == "replaced by a whole copy"
    monkeypatch.undo()
    assert workspace.evaluations.read_bytes() == content


def test_a_copy_that_cannot_be_read_is_replaced(workspace):
    copy = cached(workspace, b"good\n")
    copy.unlink()
    (copy / "below").mkdir(parents=True)
    (finding,) = look(workspace)
    assert finding.where == "cache"
    assert finding.problem.endswith("found unreadable: Is a directory")
    assert finding.mended == "replaced by a whole copy"
    assert whole(workspace)


def test_a_disk_that_takes_nothing_ends_no_look(workspace, monkeypatch):
    flip_a_byte(workspace.policy / "sub/weights")
    flip_a_byte(workspace.evaluations)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tasks.integrity.copy_check.put_aside", full)
    unmended, after = look(workspace)
    assert unmended.problem.startswith("data/policy/sub/weights: ") and not unmended.mended
    assert after.problem.startswith("data/evaluations.parquet: ")


def test_what_a_killed_dvc_has_half_written_is_no_damage(workspace):
    copy = cached(workspace, b"good\n")
    copy.with_name(f"{copy.name}.dGhpcyBpcyBoYWxm.tmp").write_text("ha")
    assert whole(workspace)


@pytest.mark.parametrize(("name", "registry"), [("mlflow.db", False), ("prefect/prefect.db", True)])
def test_only_a_damaged_registry_keeps_from_looking_at_the_registry(workspace, monkeypatch, name, registry):
    looked = []
    monkeypatch.setattr(looking, "_check_registry", lambda *_, **__: iter(looked.append(1) or ()))
    (workspace.state / name).parent.mkdir(parents=True)
    (workspace.state / name).write_bytes(b"SQLite format 3\0" + b"\1" * 9000)
    findings = look(workspace)
    assert [finding.where for finding in findings] == ["databases", *([] if registry else ["registry"])]
    assert bool(looked) == registry
