import json
from decimal import Decimal
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apo_core.data.answer_text import number_text
from apo_core.data.answer_text import tests_text as text_of_tests
from apo_core.data.prompts import Fields, prompt_of
from apo_core.data.readers import rows_of
from apo_core.errors import InputError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-05, "0.00001"),
        (1.5e-10, "0.00000000015"),
        (1e22, "1" + "0" * 22),
        (5.0, "5"),
        (-5.0, "-5"),
        (100.0, "100"),
        (-0.0, "0"),
        (2.5, "2.5"),
        (0.1, "0.1"),
        (7, "7"),
        (10**30, "1" + "0" * 30),
        (Decimal("1E-7"), "0.0000001"),
        (Decimal("1E+3"), "1000"),
        (Decimal("5.00"), "5"),
        (Decimal("2.50"), "2.5"),
        (float("nan"), None),
        (float("inf"), None),
        (Decimal("NaN"), None),
        (True, None),
    ],
)
def test_a_number_is_written_out(value, text):
    assert number_text(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_is_given_back_by_its_text(value):
    text = number_text(value)
    assert float(text) == value
    assert "e" not in text


def rows(file):
    return [row for _, _, row in rows_of(file)]


@pytest.mark.parametrize("kind", [pa.float32(), pa.float16()])
def test_a_narrow_float_has_its_shortest_text(tmp_path, kind):
    numbers = np.array([0.1, 5.0, 2.5], dtype=kind.to_pandas_dtype())
    column = pa.array(numbers, type=kind)
    table = pa.table({"prompt": ["a", "b", "c"], "answer": column, "all": [[0.5], None, [2.0]]})
    pq.write_table(table, tmp_path / "narrow.parquet")
    assert [row["answer"] for row in rows(tmp_path / "narrow.parquet")] == [0.1, 5.0, 2.5]


def test_narrow_floats_within_lists_and_structs(tmp_path):
    kind = pa.struct({"x": pa.list_(pa.float32())})
    pq.write_table(
        pa.table({"a": pa.array([{"x": [0.1, None]}, None], type=kind)}), tmp_path / "deep.parquet"
    )
    assert rows(tmp_path / "deep.parquet") == [{"a": {"x": [0.1, None]}}, {"a": None}]


def test_a_class_label_is_its_name(tmp_path):
    labels = datasets.ClassLabel(names=["no", "yes"])
    features = {"prompt": datasets.Value("string"), "answer": labels, "all": {"x": datasets.List(labels)}}
    made = datasets.Dataset.from_dict(
        {"prompt": ["a", "b", "c"], "answer": [1, 0, -1], "all": [{"x": [1]}, {"x": []}, {"x": [0, 1]}]},
        features=datasets.Features(features),
    )
    made.save_to_disk(tmp_path / "saved")
    made.to_parquet(tmp_path / "labels.parquet")
    for name in ("saved", "labels.parquet"):
        read = rows(tmp_path / name)
        assert [row["answer"] for row in read] == ["yes", "no", None]
        assert [row["all"]["x"] for row in read] == [["yes"], [], ["no", "yes"]]


@pytest.mark.parametrize("metadata", [b"{", b"[]", b'{"info": 1}', b'{"info": {"features": [1]}}'])
def test_metadata_of_another_program_is_passed_over(tmp_path, metadata):
    table = pa.table({"answer": [1]}).replace_schema_metadata({b"huggingface": metadata})
    pq.write_table(table, tmp_path / "odd.parquet")
    assert rows(tmp_path / "odd.parquet") == [{"answer": 1}]


def test_a_bool_is_refused_with_what_to_do():
    with pytest.raises(InputError, match='must be text or a number, found true; write it as text, "true"'):
        prompt_of(
            {"q": "x", "a": True},
            Fields("q", "a"),
            file=Path("f"),
            number=1,
            source="f:1",
            split="train",
            set_name="f",
        )


@pytest.mark.parametrize(
    "value",
    [
        ["assert f(1) == 2"],
        ["assert f(1) == 2", "x = [1]\nassert f(x) == 2, 'why'"],
        ["assert f(1) == 2", "assert f(2) = 3"],
        ["for x in range(3):\n    assert f(x)"],
        {"inputs": ["1\n"], "outputs": ["2\n"]},
        {"input": [[1]], "output": [2], "fn_name": "f"},
        [{"input": "1", "output": "2", "testtype": "stdin"}],
    ],
)
def test_tests_of_a_program_become_json(value):
    assert json.loads(text_of_tests(value)) == value


@pytest.mark.parametrize(
    "value",
    [
        ["assertive"],
        ["to assert oneself"],
        ["# assert f(1) == 2"],
        ["'assert'"],
        ["assert f(1) == 2", {"input": "1", "output": "2"}],
        ["assert \0"],
        [],
        ["7"],
        "assert f(1) == 2",
        {"input": "x"},
        {"inputs": ["x"]},
        {"inputs": ["x"], "output": "y"},
        [{"input": "x"}],
        None,
    ],
)
def test_other_answers_are_no_tests(value):
    assert text_of_tests(value) is None


def test_an_answer_that_only_looks_like_tests_stays_as_it_is():
    row = {"q": "x", "a": ["assertive"]}
    where = {"file": Path("f"), "number": 1, "source": "f:1", "split": "train", "set_name": "f"}
    assert prompt_of(row, Fields("q", "a"), **where).answer == "assertive"
    with pytest.raises(InputError, match="must be text or a number, found"):
        prompt_of({"q": "x", "a": {"input": "x"}}, Fields("q", "a"), **where)
