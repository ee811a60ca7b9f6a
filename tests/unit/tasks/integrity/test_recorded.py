"""Hashes as DVC makes them, of bytes that are all read."""

import os
import subprocess

import pytest
from builders import flip_a_byte

from apo_core.errors import ApoError
from apo_core.system.files import sha256_of
from tasks.dvc.run import dvc_command
from tasks.integrity.aside import put_aside
from tasks.integrity.check import check_inputs, check_outputs, remove_damaged
from tasks.integrity.copies import opened, take_policy
from tasks.integrity.recorded import md5_of, outputs_in, recorded_inputs, recorded_outputs


def test_hashes_are_dvcs_own(workspace):
    outputs = recorded_outputs(workspace)
    assert [(output.stage, output.path) for output in outputs] == [
        ("train", "data/policy"),
        ("evaluate", "data/evaluations.parquet"),
    ]
    assert [md5_of(workspace.root / output.path) for output in outputs] == [o.md5 for o in outputs]
    assert recorded_inputs(workspace, "evaluate") == outputs[:1]
    check_outputs(workspace, ["train", "evaluate"])


@pytest.mark.parametrize("file", ["data/policy/sub/weights", "data/evaluations.parquet"])
def test_a_flipped_byte_is_named_with_both_hashes(workspace, file):
    flip_a_byte(workspace.root / file)
    with pytest.raises(
        ApoError, match=rf"^{file}: is not what stage \w+ wrote: md5 \w{{32}} is recorded, found"
    ):
        check_outputs(workspace, ["train", "evaluate"])


@pytest.mark.parametrize("seconds", [-60, 60])
def test_a_stages_input_is_compared_whether_or_not_it_is_newer_than_the_record(workspace, seconds):
    """`dvc pull`, `dvc checkout` and `apo fsck` write data after `dvc.lock`."""
    written = workspace.lock.stat().st_mtime + seconds
    for file in (workspace.policy / "config.json", workspace.policy / "sub/weights"):
        os.utime(file, (written, written))
    check_inputs(workspace, "evaluate")
    flip_a_byte(workspace.policy / "sub/weights")
    with pytest.raises(ApoError, match=r"^data/policy/sub/weights: is not what stage train wrote"):
        check_inputs(workspace, "evaluate")


def test_a_file_too_many_and_one_too_few_are_damage(workspace):
    (workspace.policy / "more").write_text("x")
    with pytest.raises(ApoError, match=r"data/policy/more: .* md5 nothing is recorded, found "):
        check_outputs(workspace, ["train"])
    (workspace.policy / "more").unlink()
    (workspace.policy / "config.json").unlink()
    with pytest.raises(ApoError, match=r"data/policy/config.json: .* is recorded, found nothing"):
        check_outputs(workspace, ["train"])


def test_a_damaged_output_is_moved_away_with_its_copy(workspace):
    for file in (workspace.root / ".dvc/cache/files/md5").glob("??/*"):
        if file.read_bytes() == b"good\n":
            flip_a_byte(file)
    flip_a_byte(workspace.evaluations)
    (problem,) = remove_damaged(workspace)
    assert problem.startswith("data/evaluations.parquet: ")
    assert not workspace.evaluations.exists()
    with opened(workspace, "cache") as cache:
        assert cache.actual(recorded_outputs(workspace)[1].md5) is None
    assert len([file for file in (workspace.state / "damaged").rglob("*") if file.is_file()]) == 2


def test_what_is_put_aside_replaces_nothing_of_the_same_minute(workspace):
    for text in ("one", "two", "three"):
        workspace.evaluations.write_text(text)
        put_aside(workspace, workspace.evaluations, "workspace/data/evaluations.parquet")
    kept = [file.read_text() for file in (workspace.state / "damaged").rglob("*") if file.is_file()]
    assert sorted(kept) == ["one", "three", "two"]


def test_a_policy_is_taken_by_its_hash_whatever_else_is_kept(workspace, tmp_path):
    (workspace.policy / "added_tokens.json").write_text("{}")  # another policy, with a file more
    other = sha256_of(workspace.policy)
    subprocess.run([*dvc_command(), "commit", "--force", "--quiet", "train"], cwd=workspace.root, check=True)
    (workspace.policy / "added_tokens.json").unlink()
    with opened(workspace, "cache") as cache:
        for policy_sha256 in (sha256_of(workspace.policy), other):
            assert take_policy(policy_sha256, [cache], tmp_path / "taken")
            assert sha256_of(tmp_path / "taken") == policy_sha256
        assert not take_policy("0" * 64, [cache], tmp_path / "taken")


@pytest.mark.parametrize(
    "text", ["", "[]", "stages: [", "\0\0", "<<<<<<< HEAD\n", "stages: {train: {outs: }}"]
)
def test_a_damaged_record_is_one_line(tmp_path, text):
    (tmp_path / "dvc.lock").write_text(text)
    with pytest.raises(ApoError, match="is damaged"):
        outputs_in(tmp_path / "dvc.lock")
