"""Notes about what is at work: one that was copied with its workspace, or is damaged, says nothing."""

import shutil

import pytest

from flows.note import read_note, write_note
from tasks.workspace import Workspace


def test_a_note_is_of_its_workspace_alone(tmp_path):
    first, copy = Workspace(tmp_path / "first"), Workspace(tmp_path / "copy")
    first.state.mkdir(parents=True)
    write_note(first.state / "note", first, "http://127.0.0.1:4200/api")
    shutil.copytree(first.root, copy.root)
    assert read_note(first.state / "note", first) == "http://127.0.0.1:4200/api"
    assert read_note(copy.state / "note", copy) is None


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[]", b"null", b"{", b'{"workspace": 1}'])
def test_a_damaged_note_says_nothing(tmp_path, content):
    (tmp_path / "note").write_bytes(content)
    assert read_note(tmp_path / "note", Workspace(tmp_path)) is None
    assert read_note(tmp_path / "missing", Workspace(tmp_path)) is None
