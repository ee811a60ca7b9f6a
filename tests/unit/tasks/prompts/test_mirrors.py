"""Mirrors of remote prompts: only what has changed is fetched, whole or not at all."""

import datasets
import pytest

from apo_core.data.entries import HubAddress
from apo_core.data.readers import rows_of
from apo_core.errors import StageFailed, StageRefused
from apo_core.system.files import read_json
from tasks.prompts.hub import HubDataset, export_split
from tasks.prompts.mirrors import fetch_mirror


class FakeRemote:
    """A remote source that the test can change."""

    def __init__(self, content):
        self.content, self.downloads, self.ends_after = content, 0, None

    def version(self):
        return f"v-{self.content}"

    def download(self, version, file):
        assert version == self.version()
        self.downloads += 1
        file.write_text(self.content[: self.ends_after])
        if self.ends_after is not None:
            raise StageFailed("the connection ended")


def test_only_what_has_changed_is_fetched(tmp_path):
    mirror, remote = tmp_path / "deep/a.jsonl", FakeRemote("one")
    assert fetch_mirror(remote, "x://a", mirror)
    assert not fetch_mirror(remote, "x://a", mirror)
    remote.content = "two"
    assert fetch_mirror(remote, "x://a", mirror)
    assert (mirror.read_text(), remote.downloads) == ("two", 2)
    assert read_json(tmp_path / "deep/a.jsonl.record") == {
        "address": "x://a",
        "version": "v-two",
        "sha256": "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3",
        "bytes": 3,
    }


def test_a_broken_fetch_leaves_the_mirror_that_was(tmp_path):
    mirror, remote = tmp_path / "a.jsonl", FakeRemote("one")
    fetch_mirror(remote, "x://a", mirror)
    remote.content, remote.ends_after = "two", 1
    with pytest.raises(StageFailed):
        fetch_mirror(remote, "x://a", mirror)
    assert mirror.read_text() == "one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "a.jsonl.record"]


def test_a_mirror_that_was_cut_or_lost_is_fetched_again(tmp_path):
    mirror, remote = tmp_path / "a.jsonl", FakeRemote("one")
    fetch_mirror(remote, "x://a", mirror)
    mirror.write_text("o")
    assert fetch_mirror(remote, "x://a", mirror)
    mirror.unlink()
    assert fetch_mirror(remote, "x://a", mirror)


@pytest.fixture
def repository(tmp_path):
    """A data set as it lies on the hub: files of its splits in a directory."""
    directory = tmp_path / "repository"
    directory.mkdir()
    (directory / "train.jsonl").write_text('{"x": 1}\n{"x": 2}\n')
    (directory / "test.jsonl").write_text('{"x": 3}\n')
    return directory


def test_a_split_of_a_data_set_becomes_one_file(tmp_path, repository, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    address, file = HubAddress(str(repository), None, None, "train"), tmp_path / "a.parquet"
    export_split("hf:a/b:train", address, file)
    assert [row for *_, row in rows_of(file)] == [{"x": 1}, {"x": 2}]
    with pytest.raises(StageRefused, match=r"hf:a/b: has several splits; name one: train, test"):
        export_split("hf:a/b", address._replace(split=None), file)
    with pytest.raises(StageRefused, match=r'Unknown split "nowhere"'):
        export_split("hf:a/b:nowhere", address._replace(split="nowhere"), file)


def test_a_hub_that_is_out_of_reach_may_be_asked_again(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(StageFailed, match=r"hf:a/b: cannot be reached: "):
        HubDataset("hf:a/b").version()
