import hashlib
import json

import pandas as pd
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


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("7", "7"),
        ("-2.5", "-2.5"),
        ("14.0", "14"),
        ("1e-05", "0.00001"),
        ("1e22", "1" + "0" * 22),
        ("0.1", "0.1"),
        ('""', ""),
    ],
)
def test_numbers_are_answers(tmp_path, answer, expected):
    file = write(tmp_path, f'{{"question": "x", "answer": {answer}}}')
    assert read(file)[0].answer == expected


@pytest.mark.parametrize(
    "tests",
    [
        ["assert f(1) == 2"],
        {"inputs": ["1"], "outputs": ["2"]},
        {"input": ["1"], "output": ["2"]},
        [{"input": "1", "output": "2", "testtype": "stdin"}],
    ],
)
def test_tests_of_a_program_are_answers(tmp_path, tests):
    file = write(tmp_path, json.dumps({"question": "x", "answer": tests}))
    assert json.loads(read(file)[0].answer) == tests


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
        ('{"question": [], "answer": "2"}', "question: must be text, found []"),
        ('{"question": "x", "answer": ["2", "3"]}', "answer: must be one answer, the list has 2"),
        ('{"question": "x", "answer": []}', "answer: must be one answer, the list has 0"),
        ('{"question": "x", "answer": [["2"]]}', 'answer: must be text or a number, found ["2"]'),
        ('{"question": "x", "answer": true}', "answer: must be text or a number, found true"),
        ('{"question": "x", "answer": null}', "answer: must be text or a number, found null"),
        ('{"question": "", "answer": "2"}', "question: is empty"),
        ('{"question": " \\n", "answer": "2"}', "question: is empty"),
    ],
)
def test_a_bad_row_is_named_by_file_line_and_field(tmp_path, line, problem):
    file = write(tmp_path, GOOD, "", GOOD, line, GOOD)
    assert refusal(file).startswith(f"{file}:4: {problem}")


@pytest.mark.parametrize(
    ("row", "fields"),
    [
        (
            {"q": "x", "reward_model": {"style": "rule", "ground_truth": "2"}},
            ("q", "reward_model.ground_truth"),
        ),
        ({"q": "x", "a.b": "2", "a": {"b": "3"}}, ("q", "a.b")),
        ({"q": "x", "a.b": {"c": "2"}}, ("q", "a.b.c")),
        ({"task": {"q": {"text": "x"}}, "final": {"answers": ["2"]}}, ("task.q.text", "final.answers")),
        ({"q": "x", "answer": ["2"]}, ("q", "answer")),
        ({"q": [{"role": "user", "content": "x"}], "answer": "2"}, ("q", "answer")),
    ],
)
def test_fields_inside_fields_and_lists_of_one_are_read(tmp_path, row, fields):
    file = write(tmp_path, json.dumps(row))
    [prompt] = file_prompts(tmp_path, parse_entry(file.name), Fields(*fields), "train", "train")
    assert (prompt.prompt, prompt.answer) == ("x", "2")


def test_a_missing_field_inside_another_is_named_with_all_there_are(tmp_path):
    file = write(tmp_path, '{"q": "x", "reward_model": {"style": "rule", "truth": "2"}}')
    with pytest.raises(InputError) as refused:
        fields = Fields("q", "reward_model.ground_truth")
        list(file_prompts(tmp_path, parse_entry(file.name), fields, "train", "train"))
    assert str(refused.value) == (
        f"{file}:1: reward_model.ground_truth: is missing; the row has q, reward_model.style, "
        "reward_model.truth"
    )


def test_binary_data_in_other_fields_is_left_out(tmp_path):
    image = {"bytes": b"PNG", "path": "a.png"}
    rows = [{"question": "x", "answer": "2", "image": image, "raw": b"1", "frames": [image], "level": 3}]
    file = tmp_path / "a.parquet"
    pd.DataFrame(rows).to_parquet(file)
    [prompt] = read(file)
    left = {
        "answer": "2",
        "frames": [{"path": "a.png"}],
        "image": {"path": "a.png"},
        "level": 3,
        "question": "x",
    }
    assert json.loads(prompt.row) == left


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ([("user", "x")], "x"),
        (
            [("system", "s"), ("user", "x")],
            '[{"role": "system", "content": "s"}, {"role": "user", "content": "x"}]',
        ),
    ],
)
def test_a_prompt_may_be_a_conversation(tmp_path, turns, expected):
    messages = [{"role": role, "content": content, "name": None} for role, content in turns]
    file = write(tmp_path, json.dumps({"question": messages, "answer": "2"}))
    [prompt] = read(file)
    assert (prompt.prompt, prompt.prompt_id) == (expected, prompt_id(expected))


def test_a_conversation_that_does_not_end_with_the_user_is_named(tmp_path):
    messages = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "2"}]
    file = write(tmp_path, json.dumps({"question": messages, "answer": "2"}))
    assert (
        refusal(file) == f"{file}:1: question: ends with a turn of assistant; a prompt ends with the user's"
    )


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
