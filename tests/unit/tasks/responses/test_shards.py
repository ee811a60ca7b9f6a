import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import pandas as pd
import pyarrow as pa
import pytest

from apo_core.errors import ApoError
from tasks.responses.jobs import make_here
from tasks.responses.shards import open_work, run_shards
from tasks.workspace import Workspace

SCHEMA = pa.schema([("item", pa.int64())])


class Killed(BaseException):
    """Stands for whatever ends a process while it makes a shard."""


@dataclass
class Work:
    """Notes what it samples; `die_at` ends the process while the shard with that item is sampled."""

    sampled: list = field(default_factory=list)
    die_at: int | None = None

    @contextmanager
    def open(self, own_cores):
        assert own_cores >= 1
        yield self.sample

    def sample(self, shard):
        if self.die_at in shard:
            raise Killed
        self.sampled.extend(shard)
        return lambda: pd.DataFrame({"item": shard})


def run(directory, items, job, **options):
    return run_shards(
        directory, items, partial(make_here, job), shard_size=3, schema=SCHEMA, name="work", **options
    )


def shards(directory, items, made_items, *, die_at=None):
    return run(directory, items, Work(made_items, die_at))["item"].tolist()


def test_finished_shards_are_kept_and_the_result_is_the_undisturbed_one(tmp_path, capsys):
    work = open_work(tmp_path / "work", {"seed": 0})
    made_items = []
    with pytest.raises(Killed):
        shards(work, range(10), made_items, die_at=7)
    assert made_items == [0, 1, 2, 3, 4, 5]
    work = open_work(tmp_path / "work", {"seed": 0})
    assert shards(work, range(10), made_items) == list(range(10))
    assert made_items == list(range(10))
    assert "work: 2 of 4 shards were finished before" in capsys.readouterr().out


@dataclass
class Overlapping:
    """Scores a shard only once the next one is being sampled; what it does is noted in order."""

    done: list = field(default_factory=list)
    sampling: dict = field(default_factory=lambda: {first: threading.Event() for first in (0, 3, 6)})
    fails_to_score: int | None = None

    @contextmanager
    def open(self, own_cores):
        yield self.sample
        self.done.append("closed")

    def sample(self, shard):
        self.sampling[shard[0]].set()
        self.done.append(f"sample {shard[0]}")
        return partial(self.score, shard)

    def score(self, shard):
        later = self.sampling.get(shard[0] + 3)
        assert later is None or later.wait(timeout=60)
        if shard[0] == self.fails_to_score:
            raise ApoError("the verifier cannot be loaded")
        self.done.append(f"score {shard[0]}")
        return pd.DataFrame({"item": shard})


def test_a_shard_is_scored_while_the_next_one_is_sampled_and_one_alone(tmp_path):
    job = Overlapping()
    rows = run(tmp_path, range(9), job, inspect=lambda rows: job.done.append(f"keep {rows['item'][0]}"))
    assert rows["item"].tolist() == list(range(9))
    assert [step for step in job.done if step[:4] != "samp"] == [
        step for first in (0, 3, 6) for step in (f"score {first}", f"keep {first}")
    ] + ["closed"]
    # No more than one shard is ahead: the third is sampled once the first is kept.
    assert job.done.index("keep 0") < job.done.index("score 3")
    assert job.done.index("sample 6") < job.done.index("score 3")


def test_what_scoring_refuses_ends_the_work_and_what_was_kept_stays(tmp_path):
    with pytest.raises(ApoError, match="the verifier cannot be loaded"):
        run(tmp_path, range(9), Overlapping(fails_to_score=3))
    assert [file.name for file in tmp_path.glob("*.parquet")] == ["work-00000000.parquet"]


def test_work_under_other_conditions_is_dropped_by_name(tmp_path, capsys):
    made_items = []
    shards(open_work(tmp_path / "work", {"seed": 0, "n": 4}), range(3), made_items)
    shards(open_work(tmp_path / "work", {"seed": 1, "n": 4}), range(3), made_items)
    assert made_items == [0, 1, 2, 0, 1, 2]
    assert "what is there is dropped, these have changed: seed" in capsys.readouterr().out


def test_work_by_other_code_is_dropped(tmp_path, capsys, monkeypatch):
    made_items = []
    shards(open_work(tmp_path / "work", {"seed": 0}), range(3), made_items)
    changed = tmp_path / "tasks"
    changed.mkdir()
    (changed / "sample.py").write_text("# another sampler")
    monkeypatch.setattr("tasks.responses.shards.tasks.__path__", [str(changed)])
    shards(open_work(tmp_path / "work", {"seed": 0}), range(3), made_items)
    assert made_items == [0, 1, 2, 0, 1, 2]
    assert "what is there is dropped, these have changed: apo-flow" in capsys.readouterr().out


def test_a_damaged_shard_is_made_again(tmp_path):
    work = open_work(tmp_path / "work", {"seed": 0})
    shards(work, range(1000, 1009), [])
    file = work / "work-00000003.parquet"
    content = file.read_bytes()
    at = content.index((1004).to_bytes(2, "little"))
    file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    again = []
    work = open_work(tmp_path / "work", {"seed": 0})
    assert shards(work, range(1000, 1009), again) == list(range(1000, 1009))
    assert again == [1003, 1004, 1005]


@pytest.mark.parametrize("bit", [0x01, 0x80])
def test_a_flipped_bit_of_the_record_costs_no_work(tmp_path, bit):
    work = open_work(tmp_path / "work", {"seed": 0})
    (work / "shard").write_text("x")
    record = work / "conditions.json"
    content = record.read_bytes()
    for at in range(0, len(content), 5):
        record.write_bytes(content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :])
        open_work(tmp_path / "work", {"seed": 0})
        assert record.read_bytes() == content
        assert (work / "shard").exists()


@pytest.mark.parametrize("record", [b"", b"[]", b'{"own_sha256": "0", "seed": 1}', None])
def test_work_whose_record_is_lost_is_kept_aside(tmp_path, record, capsys):
    workspace = Workspace(tmp_path)
    work = open_work(workspace.work("sample"), {"seed": 0})
    (work / "shard").write_text("x")
    (work / "conditions.json").unlink()
    if record is not None:
        (work / "conditions.json").write_bytes(record)
    assert not (open_work(work, {"seed": 0}) / "shard").exists()
    (aside,) = (workspace.state / "damaged").glob("*/unfinished/sample/shard")
    assert str(aside.parent) in capsys.readouterr().out
