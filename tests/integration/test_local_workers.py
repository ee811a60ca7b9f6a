"""Shards by several processes, one of which is killed."""

import os
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from apo_core.errors import ApoError, InputError
from tasks.responses.local_workers import make_on_processes
from tasks.responses.shards import run_shards
from tasks.responses.workers import Workers

SCHEMA = pa.schema([("item", pa.int64()), ("worker", pa.int64())])


@dataclass(frozen=True)
class Work:
    """Record which process made which shard; a worker that gets item `deadly` is killed, once or always."""

    marks: Path
    deadly: int | None = None
    always: bool = False
    while_scoring: bool = False
    refused: str | None = None
    broken: str | None = None
    overlapping: bool = False

    @contextmanager
    def open(self, own_cores):
        if self.refused:
            raise InputError("model", self.refused)
        (self.marks / f"opened-{os.getpid()}").touch()
        yield self.sample

    def sample(self, items):
        if self.broken == "sample":
            raise ValueError("a bug")
        if not self.while_scoring:
            self.die(items)
        (self.marks / f"sampled-{items[0]}").touch()
        return partial(self.score, items)

    def score(self, items):
        if self.broken == "score":
            raise ValueError("a bug")
        if self.while_scoring:
            self.die(items)
        if self.overlapping and items[-1] < 19:
            wait_for(self.marks / f"sampled-{items[-1] + 1}")
        return pd.DataFrame({"item": items, "worker": os.getpid()})

    def die(self, items):
        killed_file = self.marks / "killed"
        if self.deadly in items and (self.always or not killed_file.exists()):
            killed_file.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def wait_for(file):
    deadline = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < deadline, f"nothing has made {file.name} meanwhile"
        time.sleep(0.01)


def table(directory, work, workers=2):
    local = Workers(executor="local", number=workers, gpus=1)
    return run_shards(
        directory, range(20), partial(local.make, work), shard_size=4, schema=SCHEMA, name="work"
    )


def test_workers_make_what_one_makes(tmp_path):
    by_one, by_two = table(tmp_path / "one", Work(tmp_path), 1), table(tmp_path / "two", Work(tmp_path))
    assert by_two["item"].tolist() == by_one["item"].tolist() == list(range(20))
    assert set(by_one["worker"]) == {os.getpid()}
    assert os.getpid() not in set(by_two["worker"])


@pytest.mark.parametrize("while_scoring", [False, True])
def test_a_killed_worker_is_replaced_and_its_shards_made_again(tmp_path, capsys, while_scoring):
    rows = table(tmp_path / "table", Work(tmp_path, deadly=9, while_scoring=while_scoring))
    assert rows["item"].tolist() == list(range(20))
    assert "a sampling worker died" in capsys.readouterr().out


@pytest.mark.parametrize("while_scoring", [False, True])
def test_workers_that_keep_dying_end_the_stage_and_keep_what_is_done(tmp_path, while_scoring):
    with pytest.raises(ApoError, match="3 sampling workers died without finishing a shard"):
        table(tmp_path / "table", Work(tmp_path, deadly=19, always=True, while_scoring=while_scoring))
    assert len(list((tmp_path / "table").glob("*.parquet"))) == 4


def test_what_a_worker_refuses_is_what_one_reads(tmp_path):
    with pytest.raises(ApoError, match=r"^model: has no weights$"):
        table(tmp_path / "table", Work(tmp_path, refused="has no weights"))


@pytest.mark.parametrize("step", ["sample", "score"])
def test_a_worker_that_fails_by_a_bug_is_not_started_again(tmp_path, capfd, step):
    with pytest.raises(RuntimeError, match="a sampling worker failed; its traceback is above"):
        table(tmp_path / "table", Work(tmp_path, broken=step))
    assert "ValueError: a bug" in capfd.readouterr().err
    assert len(list(tmp_path.glob("opened-*"))) <= 2


def test_where_everything_is_made_nothing_is_opened(tmp_path):
    table(tmp_path / "table", Work(tmp_path), 1)
    opened = tmp_path / f"opened-{os.getpid()}"
    opened.unlink()
    table(tmp_path / "table", Work(tmp_path), 1)
    assert not opened.exists()


def test_a_worker_scores_a_shard_while_it_samples_the_next_one(tmp_path):
    run = partial(make_on_processes, Work(tmp_path, overlapping=True), workers=1, gpus=1)
    rows = run_shards(tmp_path / "table", range(20), run, shard_size=4, schema=SCHEMA, name="work")
    assert rows["item"].tolist() == list(range(20))
    assert len(set(rows["worker"])) == 1
