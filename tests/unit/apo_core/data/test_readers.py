"""Every format gives the same rows, with the line or row numbers a person finds them by."""

import bz2
import csv
import gzip
import json
import lzma

import datasets
import pandas as pd
import pytest

from apo_core.data import json_files
from apo_core.data.readers import rows_of
from apo_core.errors import InputError

ROWS = [
    {"question": 'Größe,\n"π"?', "answer": "3"},
    {"question": "1+1?", "answer": "2"},
    {"question": "[{,}]", "answer": "\\"},
]


def write_csv(file, rows=ROWS):
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, ["question", "answer"])
        writer.writeheader()
        writer.writerows(rows)


WRITERS = {
    "a.jsonl": lambda file: file.write_text("".join(json.dumps(row) + "\n" for row in ROWS)),
    "a.json": lambda file: file.write_text(json.dumps(ROWS, indent=1, ensure_ascii=False), encoding="utf-8"),
    "a.csv": write_csv,
    "a.parquet": lambda file: pd.DataFrame(ROWS).to_parquet(file),
    "saved": lambda file: datasets.Dataset.from_list(ROWS).save_to_disk(file),
}


def refusal(path):
    with pytest.raises(InputError) as refused:
        list(rows_of(path))
    return str(refused.value)


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_rows(tmp_path, name):
    WRITERS[name](tmp_path / name)
    read_rows = list(rows_of(tmp_path / name))
    assert [row for _, _, row in read_rows] == ROWS
    assert {file for file, _, _ in read_rows} == {tmp_path / name}


@pytest.mark.parametrize(
    ("name", "numbers"),
    [("a.jsonl", [1, 2, 3]), ("a.json", [1, 2, 3]), ("a.csv", [2, 4, 5]), ("a.parquet", [1, 2, 3])],
)
def test_rows_are_numbered_as_an_editor_counts(tmp_path, name, numbers):
    """In CSV the header is line 1, and the first row here is two lines long."""
    WRITERS[name](tmp_path / name)
    assert [number for _, number, _ in rows_of(tmp_path / name)] == numbers


def test_a_directory_is_read_in_the_order_of_its_names(tmp_path):
    (tmp_path / "d/deeper").mkdir(parents=True)
    (tmp_path / "d/README.md").write_text("not a row")
    (tmp_path / "d/b.jsonl").write_text('{"x": 2}\n{"x": 3}')
    (tmp_path / "d/a.csv").write_text("x\n1\n")
    (tmp_path / "d/deeper/c.json").write_text('[{"x": 4}]')
    read_rows = [(file.name, number, str(row["x"])) for file, number, row in rows_of(tmp_path / "d")]
    assert read_rows == [("a.csv", 2, "1"), ("b.jsonl", 1, "2"), ("b.jsonl", 2, "3"), ("c.json", 1, "4")]


def test_saved_splits_are_to_be_named(tmp_path):
    rows = datasets.Dataset.from_list(ROWS)
    datasets.DatasetDict({"train": rows, "test": rows}).save_to_disk(tmp_path / "saved")
    assert refusal(tmp_path / "saved").endswith("name one of them: saved/train, saved/test")
    assert len(list(rows_of(tmp_path / "saved/test"))) == 3


@pytest.mark.parametrize("chunk", [1, 2, 7, 1000])
def test_a_json_array_is_read_piece_by_piece(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(json_files, "_CHUNK", chunk)
    WRITERS["a.json"](tmp_path / "a.json")
    assert [row for _, _, row in rows_of(tmp_path / "a.json")] == ROWS


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.json", "", ": must be an array of objects"),
        ("a.json", '{"x": 1}\n{"x": }', ":2: malformed JSON: Expecting value"),
        ("a.json", '{\n "data": [{"x": 1}]\n}', ": must be an array of objects, or have an object in every"),
        ("a.jsonl", '[{"x": 1}, {"x": }]', ":2: malformed JSON: Expecting value"),
        ("a.jsonl.gz", '{"x": 1}', ": is damaged, or not compressed as its name says: Not a gzipped file"),
        ("a.csv", ",\n1,2\n", ":1: must begin with a header of different names"),
        ("a.csv", "x, x\n1,2\n", ":1: must begin with a header of different names"),
        ("a.parquet.gz", "x", ": is no .jsonl, "),
        ("a.json", '[{"x": 1},\n\n{"x": }]', ":2: malformed JSON: Expecting value (line 3)"),
        ("a.json", '[{"x": 1}\n{"x": 2}]', ":1: malformed JSON: Expecting ',' delimiter (line 2)"),
        ("a.json", '[{"x": 1}] 2', ":1: malformed JSON: Extra data (line 1)"),
        ("a.json", '[{"x": 1}, ', ":2: malformed JSON: Expecting value (line 1)"),
        ("a.json", '[{"x": 1}', ":1: malformed JSON: Expecting ',' delimiter (line 1)"),
        ("a.json", '[{"x": 1},]', ":2: malformed JSON: Expecting value (line 1)"),
        ("a.json", "[3]", ":1: must be a JSON object, found 3"),
        ("a.json", "[]", ": holds no prompts"),
        ("a.csv", "", ":1: must begin with a header of different names"),
        ("a.csv", "x,x\n1,2\n", ":1: must begin with a header of different names"),
        ("a.csv", "x,y\n1,2\n\n3\n", ":4: has 1 values, the header has 2"),
        ("a.csv", 'x,y\n1,"2\n3\n', ":2: malformed CSV: unexpected end of data"),
        ("a.csv", "x,y\n", ": holds no prompts"),
        ("a.parquet", "PAR1", ": is not a Parquet file"),
        ("a.txt", "x", ": is no .jsonl, .ndjson, .json, .csv or .parquet file, nor a directory of them"),
    ],
)
def test_a_malformed_file_is_named_by_row(tmp_path, name, text, problem):
    (tmp_path / name).write_text(text)
    assert refusal(tmp_path / name).startswith(f"{tmp_path / name}{problem}")


def test_a_directory_without_prompts_is_refused(tmp_path):
    assert refusal(tmp_path) == f"{tmp_path}: holds no .jsonl, .ndjson, .json, .csv or .parquet file"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"x": 1}\n{"x": 2}\n'),
        ("a.json", '\n {"x": 1}\n\n{"x": 2}'),
        ("a.ndjson", '{"x": 1}\n{"x": 2}\n'),
        ("a.jsonl", '[{"x": 1},\n {"x": 2}]'),
        ("a.jsonl", '\ufeff[{"x": 1}, {"x": 2}]'),
    ],
)
def test_lines_and_arrays_are_recognised_by_their_content(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert [row for _, _, row in rows_of(tmp_path / name)] == [{"x": 1}, {"x": 2}]


@pytest.mark.parametrize("kind", ["jsonl", "ndjson", "json", "csv"])
@pytest.mark.parametrize(("ending", "module"), [("gz", gzip), ("bz2", bz2), ("xz", lzma)])
def test_compressed_text_is_read_as_it_is(tmp_path, kind, ending, module):
    write = WRITERS["a.jsonl" if kind == "ndjson" else f"a.{kind}"]
    write(tmp_path / "plain")
    packed = tmp_path / f"d/a.{kind}.{ending}"
    packed.parent.mkdir()
    packed.write_bytes(module.compress((tmp_path / "plain").read_bytes()))
    for path in (packed, packed.parent):
        assert [row for _, _, row in rows_of(path)] == ROWS


def test_a_file_that_was_cut_off_is_damaged(tmp_path):
    whole = gzip.compress(b'{"x": 1}\n' * 10_000)
    (tmp_path / "a.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    assert ": is damaged, or not compressed as its name says" in refusal(tmp_path / "a.jsonl.gz")


@pytest.mark.parametrize(
    ("text", "row"),
    [
        (",x,y\n0,1,2\n", {"x": "1", "y": "2"}),
        ("x,,y,\n1,0,2,\n", {"x": "1", "y": "2"}),
        ("x, y\n1, 2\n", {"x": "1", "y": "2"}),
        ('x, "y"\n"1, 1", "2, 2"\n', {"x": "1, 1", "y": "2, 2"}),
        ("x ,y\t\n 1,2\n", {"x": " 1", "y": "2"}),
        ('"x, y",z\n1, 2\n', {"x, y": "1", "z": " 2"}),
        ("the question,y\n1,2\n", {"the question": "1", "y": "2"}),
    ],
)
def test_columns_without_names_and_spaces_behind_commas_are_no_part_of_rows(tmp_path, text, row):
    (tmp_path / "a.csv").write_text(text)
    assert next(rows_of(tmp_path / "a.csv"))[2] == row


def test_a_mark_of_byte_order_is_no_part_of_the_first_name(tmp_path):
    (tmp_path / "a.csv").write_text("x\n1\n", encoding="utf-8-sig")
    assert next(rows_of(tmp_path / "a.csv"))[2] == {"x": "1"}
