from functools import partial

import pandas as pd
import pyarrow as pa
import pytest

from tasks.responses.shards import open_work, run_shards
from tasks.responses.workers import run_serially

SCHEMA = pa.schema([("item", pa.int64())])


class Killed(BaseException):
    """Stands for whatever ends a process while it makes a shard."""


def shards(directory, items, made_items, *, die_at=None):
    def make(shard):
        if die_at in shard:
            raise Killed
        made_items.extend(shard)
        return pd.DataFrame({"item": shard})

    frame = run_shards(
        directory, items, partial(run_serially, make), shard_size=3, schema=SCHEMA, name="work"
    )
    return frame["item"].tolist()


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


@pytest.mark.parametrize("damaged", ["work-00000003.parquet", "conditions.json"])
def test_damaged_work_is_made_again(tmp_path, capsys, damaged):
    made_items = []
    work = open_work(tmp_path / "work", {"seed": 0})
    shards(work, range(1000, 1009), made_items)
    file = work / damaged
    content = file.read_bytes()
    at = content.index((1004).to_bytes(2, "little")) if damaged.endswith("parquet") else 0
    file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    again = []
    work = open_work(tmp_path / "work", {"seed": 0})
    assert shards(work, range(1000, 1009), again) == list(range(1000, 1009))
    assert again == ([1003, 1004, 1005] if damaged.endswith("parquet") else list(range(1000, 1009)))
