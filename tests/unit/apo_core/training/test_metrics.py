import pytest
from builders import flip_a_byte
from torch import nn

from apo_core.training.checkpoint import Checkpoints, damage_of
from apo_core.training.metrics import append_metrics, read_metrics, write_metrics


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "reports" / "metrics.jsonl"
    for step in range(1, 6):
        append_metrics(file, {"step": step, "time": 0.0, "reward": step / 7})
    return file


def steps(rows):
    return [row["step"] for row in rows]


def test_steps_come_back_exactly(file):
    assert read_metrics(file) == [{"step": step, "time": 0.0, "reward": step / 7} for step in range(1, 6)]


def test_there_are_none_without_a_file(tmp_path):
    assert read_metrics(tmp_path / "metrics.jsonl") == []


@pytest.mark.parametrize("tail", ['{"step": 6, "rew', '{"step": 6, "time": 0.0, "reward": 0.5}', "{", " "])
def test_a_half_written_last_line_is_ignored(file, tail):
    with file.open("a") as stream:
        stream.write(tail)
    assert steps(read_metrics(file)) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("line", ["[6]", '{"stfp": 6, "time": 0.0}', '{"step": "6", "time": 0.0}', "6"])
def test_a_line_that_is_no_steps_is_left_out(file, line):
    with file.open("a") as stream:
        stream.write(f"{line}\n")
    assert steps(read_metrics(file)) == [1, 2, 3, 4, 5]


def test_a_resumed_run_writes_on_behind_what_the_checkpoint_holds(file):
    whole = read_metrics(file)
    with file.open("a") as stream:
        stream.write('{"step": 6, "rew')
    write_metrics(file, whole[:4])
    append_metrics(file, whole[4])
    assert read_metrics(file) == whole


@pytest.mark.parametrize("bit", [0x01, 0x80])
def test_a_resumed_run_takes_its_metrics_from_the_checkpoint(file, tmp_path, bit):
    class Engine:
        module = nn.Linear(1, 1)

        def zero_optimization_stage(self):
            return 0

        def save_checkpoint(self, directory, **_):
            pass

    whole, content = read_metrics(file), file.read_bytes()
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=1, min_free_mib=0)
    checkpoints.save(Engine(), 3, 0.5, whole[:3])
    for at in range(0, len(content), 7):
        file.write_bytes(content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :])
        read_metrics(file)  # whoever looks at a training meanwhile is not disturbed
        assert checkpoints.restore_metrics(3, file) == whole[:3] == read_metrics(file)
    (saved,) = checkpoints.all()
    assert damage_of(saved) is None
    flip_a_byte(saved.directory / "metrics.jsonl")
    assert damage_of(saved).startswith("metrics.jsonl: is damaged")


def test_a_fresh_run_has_an_empty_file(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=1, min_free_mib=0)
    assert checkpoints.restore_metrics(0, tmp_path / "metrics.jsonl") == []
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_a_number_that_json_does_not_have_is_refused(file):
    with pytest.raises(ValueError, match="not JSON compliant"):
        append_metrics(file, {"step": 6, "reward": float("nan")})
    assert steps(read_metrics(file)) == [1, 2, 3, 4, 5]
