import hashlib
import json

import pytest

from apo_core.data.entries import parse_entry
from apo_core.data.prompts import Fields, Prompt, prompt_id
from apo_core.data.streams import file_prompts
from apo_core.errors import InputError


def write(tmp_path, *lines):
    file = tmp_path / "train.jsonl"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def read(file):
    fields = Fields("question", "answer")
    return list(file_prompts(file.parent, parse_entry(file.name), fields, "train", file.stem))


def refusal(file):
    with pytest.raises(InputError) as refused:
        read(file)
    return str(refused.value)


GOOD_ROW = '{"answer": "2", "question": "1+1?"}'
GOOD = '{"question": "1+1?", "answer": "2"}'


def test_rows_become_prompts_that_know_their_line(tmp_path):
    file = write(tmp_path, GOOD, "", "  ", '{"answer": "4", "question": "2+2?", "more": [1]}')
    assert read(file) == [
        Prompt(prompt_id("1+1?"), "1+1?", "2", GOOD_ROW, "train.jsonl:1", "train", "train"),
        Prompt(
            prompt_id("2+2?"),
            "2+2?",
            "4",
            '{"answer": "4", "more": [1], "question": "2+2?"}',
            "train.jsonl:4",
            "train",
            "train",
        ),
    ]


def test_text_outside_ascii_and_separators_inside_it_survive(tmp_path):
    prompt = "Größe π? \u2028 next\nline"
    file = write(tmp_path, json.dumps({"question": prompt, "answer": "é"}, ensure_ascii=False))
    assert [(row.prompt, row.answer) for row in read(file)] == [(prompt, "é")]


@pytest.mark.parametrize(("answer", "expected"), [("7", "7"), ("-2.5", "-2.5"), ("14.0", "14.0"), ('""', "")])
def test_numbers_are_answers(tmp_path, answer, expected):
    file = write(tmp_path, f'{{"question": "x", "answer": {answer}}}')
    assert read(file)[0].answer == expected


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"question": "x", "answer": }', "malformed JSON: Expecting value (column 29)"),
        ('{"question": "x", "answer": ', "malformed JSON: Expecting value"),
        ("nonsense", "malformed JSON"),
        (GOOD + GOOD, "malformed JSON: Extra data"),
        ("[1, 2]", "must be a JSON object, found [1, 2]"),
        ('"text"', "must be a JSON object"),
        ("null", "must be a JSON object"),
        ('{"question": "x", "solution": "2"}', "answer: is missing; the row has question, solution"),
        ('{"answer": "2"}', "question: is missing; the row has answer"),
        ('{"question": 5, "answer": "2"}', "question: must be text, found 5"),
        ('{"question": ["x"], "answer": "2"}', 'question: must be text, found ["x"]'),
        ('{"question": "x", "answer": true}', "answer: must be text or a number, found true"),
        ('{"question": "x", "answer": null}', "answer: must be text or a number, found null"),
        ('{"question": "x", "answer": [2]}', "answer: must be text or a number, found [2]"),
        ('{"question": "", "answer": "2"}', "question: is empty"),
        ('{"question": " \\n", "answer": "2"}', "question: is empty"),
    ],
)
def test_a_bad_row_is_named_by_file_line_and_field(tmp_path, line, problem):
    file = write(tmp_path, GOOD, "", GOOD, line, GOOD)
    assert refusal(file).startswith(f"{file}:4: {problem}")


@pytest.mark.parametrize("lines", [[""], ["", "  ", "\t"]])
def test_a_file_without_rows_is_refused(tmp_path, lines):
    file = write(tmp_path, *lines)
    assert refusal(file) == f"{file}: holds no prompts"


def test_a_missing_file_is_refused(tmp_path):
    assert refusal(tmp_path / "nowhere.jsonl") == f"{tmp_path}/nowhere.jsonl: no such file"


def test_another_encoding_is_refused(tmp_path):
    file = tmp_path / "latin.jsonl"
    file.write_bytes('{"question": "Größe", "answer": "2"}'.encode("latin-1"))
    assert refusal(file).startswith(f"{file}: is not UTF-8 text")


@pytest.mark.parametrize(
    "line",
    [
        r'{"question": "\ud800", "answer": "2"}',  # half of a surrogate pair: no UTF-8 form, no hash
        f'{{"question": "x", "answer": {"1" * 5000}}}',
        "[" * 100_000,
    ],
    ids=["surrogate", "digits", "nesting"],
)
def test_json_that_python_cannot_hold_is_named_by_its_line(tmp_path, line):
    file = write(tmp_path, GOOD, line)
    assert refusal(file).startswith(f"{file}:2: ")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_number_that_is_none_is_refused(tmp_path, number):
    file = write(tmp_path, f'{{"question": "x", "answer": {number}}}')
    assert refusal(file).startswith(f"{file}:1: answer: ")


def test_an_integer_beyond_any_float_is_an_answer(tmp_path):
    file = write(tmp_path, f'{{"question": "x", "answer": {"1" * 400}}}')
    assert read(file)[0].answer == "1" * 400


def test_the_column_of_a_cut_off_line_is_its_end(tmp_path):
    file = write(tmp_path, '{"question": "x", "answer": ')
    assert refusal(file) == f"{file}:1: malformed JSON: Expecting value (column 29)"


def test_the_id_is_a_hash_of_the_text():
    assert prompt_id("abc") == hashlib.sha256(b"abc").hexdigest()[:16] == "ba7816bf8f01cfea"
    assert prompt_id("abc") != prompt_id("abc ")
