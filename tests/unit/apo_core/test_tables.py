import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from apo_core.errors import InputError
from apo_core.tables import (
    EVALUATIONS,
    PROMPTS,
    SAMPLES,
    VALUES,
    read_batches,
    read_metadata,
    read_table,
    write_batches,
    write_table,
)

ROWS = {
    "prompts": (
        PROMPTS,
        {
            "prompt_id": ["a"],
            "prompt": ["π?"],
            "answer": ["3"],
            "row": ["{}"],
            "source": ["f:1"],
            "split": ["train"],
            "set": ["f"],
            "group": ["easy"],
        },
    ),
    "samples": (
        SAMPLES,
        {
            "prompt_id": ["a", "a"],
            "sample_index": [0, 1],
            "token_ids": [[5, 1], []],
            "text": ["5", ""],
            "finish_reason": ["stop", "length"],
            "extracted": ["5", "6"],
            "reward": [1.0, float("nan")],
            "reason": ["5 equals 5", "error: took longer than 5 s"],
            "parts": ['{"numeric": 1.0}', '{"numeric": 0.0}'],
        },
    ),
    "values": (
        VALUES,
        {
            "prompt_id": ["a"],
            "v_star": [0.1 + 0.2],
            "mean_reward": [0.5],
            "expected_reward": [0.4],
            "solvable": [0.9],
            "n": [2],
            "max_reward": [1.0],
            "dropped": ["unsolved"],
        },
    ),
    "evaluations": (
        EVALUATIONS,
        {
            "prompt_id": ["a", "a"],
            "policy": ["policy", "reference"],
            "sample_index": [-1, 0],
            "text": ["5", "6"],
            "finish_reason": ["stop", "stop"],
            "extracted": ["5", "6"],
            "reward": [1.0, 0.0],
            "reason": ["5 equals 5", "6 is not 5"],
            "parts": ['{"numeric": 1.0, "overlong": -0.5}', '{"numeric": 0.0}'],
            "log_ratio": [0.5, float("nan")],
        },
    ),
}


@pytest.fixture
def samples(tmp_path):
    file = tmp_path / "samples.parquet"
    schema, columns = ROWS["samples"]
    write_table(file, pd.DataFrame(columns), schema)
    return file


@pytest.mark.parametrize("name", ROWS)
def test_rows_come_back_as_they_were_written(tmp_path, name):
    schema, columns = ROWS[name]
    file = tmp_path / "deep" / "table.parquet"
    write_table(file, pd.DataFrame(columns), schema)
    table = read_table(file, schema)
    assert list(table.columns) == list(columns)
    for column, values in columns.items():
        written = [list(value) if column == "token_ids" else value for value in table[column]]
        assert (
            written == pytest.approx(values, rel=0, nan_ok=True)
            if column in ("log_ratio", "reward")
            else written == values
        )


def test_columns_are_put_in_order_and_others_left_out(tmp_path):
    schema, columns = ROWS["prompts"]
    frame = pd.DataFrame({"extra": [1], **dict(reversed(columns.items()))})
    write_table(tmp_path / "t.parquet", frame, schema)
    assert pq.read_schema(tmp_path / "t.parquet").names == schema.names


def test_a_table_may_be_empty(tmp_path):
    write_table(tmp_path / "t.parquet", pd.DataFrame(columns=SAMPLES.names), SAMPLES)
    assert read_table(tmp_path / "t.parquet", SAMPLES).empty


def test_the_same_rows_and_metadata_give_the_same_bytes(tmp_path):
    schema, columns = ROWS["samples"]
    frame = pd.DataFrame(columns)
    write_table(tmp_path / "one", frame, schema, {"b": 1, "a": 2})
    write_table(tmp_path / "two", frame.set_index(pd.Index([7, 8])), schema, {"a": 2, "b": 1})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("size", [1, 999, 10_000, 25_001])
def test_rows_that_come_in_batches_give_the_same_bytes_however_they_are_cut(tmp_path, size):
    rows = 1_500 if size == 1 else 25_001
    whole = pa.RecordBatch.from_pydict({"reward": [float(row) for row in range(rows)]})
    cut = [whole.slice(start, size) for start in range(0, rows, size)]
    write_batches(tmp_path / "one", [whole], whole.schema)
    write_batches(tmp_path / "two", iter(cut), whole.schema)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    read = list(read_batches(tmp_path / "two", ["reward"]))
    assert pq.ParquetFile(tmp_path / "two").metadata.num_row_groups == -(-rows // 10_000)
    assert pa.Table.from_batches(read) == pa.Table.from_batches([whole])


def test_a_table_that_breaks_off_is_not_written(tmp_path):
    whole = pa.RecordBatch.from_pydict({"reward": [1.0]})

    def batches():
        yield whole
        raise InputError("f", "broken")

    with pytest.raises(InputError):
        write_batches(tmp_path / "t", batches(), whole.schema)
    assert list(tmp_path.iterdir()) == []


def test_metadata_comes_back(tmp_path, samples):
    schema, columns = ROWS["samples"]
    metadata = {"fingerprint": {"reference": "abc"}, "beta1": 0.5}
    write_table(tmp_path / "t.parquet", pd.DataFrame(columns), schema, metadata)
    assert read_metadata(tmp_path / "t.parquet") == metadata
    assert read_metadata(samples) == {}


def test_another_programs_file_has_no_metadata(tmp_path):
    pq.write_table(pa.table({"x": [1]}), tmp_path / "t.parquet")
    assert read_metadata(tmp_path / "t.parquet") == {}


def test_another_programs_extra_columns_are_left_out(samples):
    table = pq.read_table(samples)
    pq.write_table(table.append_column("extra", pa.array([1, 2])), samples)
    assert list(read_table(samples, SAMPLES).columns) == SAMPLES.names


@pytest.mark.parametrize("column", SAMPLES.names)
def test_a_missing_column_is_named(samples, column):
    pq.write_table(pq.read_table(samples).drop_columns([column]), samples)
    with pytest.raises(InputError) as refused:
        read_table(samples, SAMPLES)
    assert str(refused.value) == f"{samples}: {column}: column is missing"


def test_a_column_of_another_type_is_named(samples):
    table = pq.read_table(samples)
    position = table.column_names.index("reward")
    pq.write_table(table.set_column(position, "reward", pa.array(["1", "0"])), samples)
    with pytest.raises(InputError) as refused:
        read_table(samples, SAMPLES)
    assert str(refused.value) == f"{samples}: reward: column is string, not double"


@pytest.mark.parametrize("content", [b"", b"prompt_id,reward\n", b"PAR1 but not really PAR1"])
def test_a_file_that_is_no_parquet_is_named(tmp_path, content):
    file = tmp_path / "t.parquet"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"t\.parquet: is not a Parquet table"):
        read_table(file, SAMPLES)


def test_a_cut_off_table_is_named(samples):
    samples.write_bytes(samples.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"samples\.parquet: is not a Parquet table"):
        read_table(samples, SAMPLES)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(InputError, match=r"t\.parquet: no such table; run the stage that makes it"):
        read_table(tmp_path / "t.parquet", SAMPLES)


def test_a_table_that_breaks_its_contract_is_not_written(samples):
    before = samples.read_bytes()
    frame = pd.DataFrame({**ROWS["samples"][1], "reward": ["good", "bad"]})
    with pytest.raises(pa.ArrowInvalid):
        write_table(samples, frame, SAMPLES)
    assert samples.read_bytes() == before
    assert list(samples.parent.iterdir()) == [samples]


def test_a_flipped_bit_anywhere_is_refused_or_without_consequence(tmp_path):
    file = tmp_path / "table.parquet"
    schema = pa.schema([("prompt_id", pa.string()), ("reward", pa.float64())])
    frame = pd.DataFrame({"prompt_id": ["a", "b"], "reward": [1.0, 2.0]})
    write_table(file, frame, schema, checksums=True)
    content = file.read_bytes()
    refused = 0
    for at in range(len(content)):
        file.write_bytes(content[:at] + bytes([content[at] ^ 0x80]) + content[at + 1 :])
        try:
            read = read_table(file, schema)
        except InputError:
            refused += 1
        else:
            pd.testing.assert_frame_equal(read, frame)
    assert refused > len(content) / 2


def test_metadata_of_a_cut_file_is_refused_like_its_rows(samples):
    samples.write_bytes(samples.read_bytes()[:-20])
    with pytest.raises(InputError, match="is not a Parquet table"):
        read_metadata(samples)
    samples.unlink()
    with pytest.raises(InputError, match="no such table"):
        read_metadata(samples)
