import pytest

from apo_core.training.metrics import append_metrics, read_metrics, truncate_metrics


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "reports" / "metrics.jsonl"
    for step in range(1, 6):
        append_metrics(file, {"step": step, "reward": step / 7})
    return file


def steps(rows):
    return [row["step"] for row in rows]


def test_steps_come_back_exactly(file):
    assert read_metrics(file) == [{"step": step, "reward": step / 7} for step in range(1, 6)]


def test_there_are_none_without_a_file(tmp_path):
    assert read_metrics(tmp_path / "metrics.jsonl") == []


@pytest.mark.parametrize("tail", ['{"step": 6, "rew', '{"step": 6, "reward": 0.5}', "{", " "])
def test_a_half_written_last_line_is_ignored(file, tail):
    with file.open("a") as stream:
        stream.write(tail)
    assert steps(read_metrics(file)) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("kept", [0, 1, 3, 5, 9])
def test_truncation_keeps_the_steps_up_to_a_checkpoint(file, kept):
    whole = read_metrics(file)
    assert truncate_metrics(file, kept) == whole[:kept]
    assert read_metrics(file) == whole[:kept]


def test_a_resumed_run_writes_on_behind_a_half_written_line(file):
    with file.open("a") as stream:
        stream.write('{"step": 6, "rew')
    truncate_metrics(file, 4)
    append_metrics(file, {"step": 5, "reward": 1.0})
    assert steps(read_metrics(file)) == [1, 2, 3, 4, 5]
    assert read_metrics(file)[-1]["reward"] == 1.0


def test_truncation_makes_an_empty_file_for_a_fresh_run(tmp_path):
    assert truncate_metrics(tmp_path / "metrics.jsonl", 0) == []
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_a_number_that_json_does_not_have_is_refused(file):
    with pytest.raises(ValueError, match="not JSON compliant"):
        append_metrics(file, {"step": 6, "reward": float("nan")})
    assert steps(read_metrics(file)) == [1, 2, 3, 4, 5]
