"""Shards by several processes, one of which is killed."""

import os
import signal
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from apo_core.errors import ApoError, InputError
from tasks.responses.shards import run_shards
from tasks.responses.workers import run_on_workers

SCHEMA = pa.schema([("item", pa.int64()), ("worker", pa.int64())])


@dataclass(frozen=True)
class Work:
    """Record which process made which shard; a worker that gets item `deadly` is killed, once or always."""

    marks: Path
    deadly: int | None = None
    always: bool = False
    refused: str | None = None
    broken: bool = False

    @contextmanager
    def open(self):
        if self.refused:
            raise InputError("model", self.refused)
        (self.marks / f"opened-{os.getpid()}").touch()
        yield self.make

    def make(self, items):
        if self.broken:
            raise ValueError("a bug")
        killed_file = self.marks / "killed"
        if self.deadly in items and (self.always or not killed_file.exists()):
            killed_file.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return pd.DataFrame({"item": items, "worker": os.getpid()})


def table(directory, work, workers=2):
    run = partial(run_on_workers, work, executor="local", workers=workers, gpus=1)
    return run_shards(directory, range(20), run, shard_size=4, schema=SCHEMA, name="work")


def test_workers_make_what_one_makes(tmp_path):
    by_one, by_two = table(tmp_path / "one", Work(tmp_path), 1), table(tmp_path / "two", Work(tmp_path))
    assert by_two["item"].tolist() == by_one["item"].tolist() == list(range(20))
    assert set(by_one["worker"]) == {os.getpid()}
    assert os.getpid() not in set(by_two["worker"])


def test_a_killed_worker_is_replaced_and_its_shard_made_again(tmp_path, capsys):
    rows = table(tmp_path / "table", Work(tmp_path, deadly=9))
    assert rows["item"].tolist() == list(range(20))
    assert "a sampling worker died" in capsys.readouterr().out


def test_workers_that_keep_dying_end_the_stage_and_keep_what_is_done(tmp_path):
    with pytest.raises(ApoError, match="3 sampling workers died without finishing a shard"):
        table(tmp_path / "table", Work(tmp_path, deadly=19, always=True))
    assert len(list((tmp_path / "table").glob("*.parquet"))) == 4


def test_what_a_worker_refuses_is_what_one_reads(tmp_path):
    with pytest.raises(ApoError, match=r"^model: has no weights$"):
        table(tmp_path / "table", Work(tmp_path, refused="has no weights"))


def test_a_worker_that_fails_by_a_bug_is_not_started_again(tmp_path, capfd):
    with pytest.raises(RuntimeError, match="a sampling worker failed; its traceback is above"):
        table(tmp_path / "table", Work(tmp_path, broken=True))
    assert "ValueError: a bug" in capfd.readouterr().err
    assert len(list(tmp_path.glob("opened-*"))) <= 2


def test_where_everything_is_made_nothing_is_opened(tmp_path):
    table(tmp_path / "table", Work(tmp_path), 1)
    opened = tmp_path / f"opened-{os.getpid()}"
    opened.unlink()
    table(tmp_path / "table", Work(tmp_path), 1)
    assert not opened.exists()
