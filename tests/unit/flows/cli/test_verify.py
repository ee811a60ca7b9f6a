"""`apo verify` on files of prompts and completions, without a model."""

import json
import re

import pytest
from builders import ROOT

from apo_core.config.verifier import Overlong, When
from flows.cli.verify import try_verifiers
from flows.workspaces import load_preset
from tasks.workspace import Workspace

TURNS = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "7+1"}]
PROMPTS = [{"x": {"q": f"{n}+1"}, "answer": str(n + 1)} for n in range(6)]
PROMPTS.append({"x": {"q": TURNS}, "answer": "8"})
RIGHT = {"x": {"q": TURNS}, "completion": "so 8", "token_ids": [1] * 23}


@pytest.fixture
def verify(tmp_path, monkeypatch, capsys):
    """Try verifiers on prompts and completions: whether all is good, and what is printed."""
    monkeypatch.setenv("COLUMNS", "80")
    workspace = Workspace(tmp_path)

    def tried(*changes, completions=(), limit=100):
        workspace.raw_prompts.mkdir(parents=True, exist_ok=True)
        for name, rows in (("prompts", PROMPTS), ("held_out", [{"x": {"q": "8+1"}, "answer": "9"}])):
            write(workspace.raw_prompts / f"{name}.jsonl", rows)
        params = load_preset(ROOT / "presets/ci.yaml")
        fields = {"prompt_field": "x.q", "train_prompts": None, "eval_prompts": None, "source": "files"}
        fields |= {"train_files": ("prompts.jsonl",), "eval_files": ("held_out.jsonl",)}
        (first,) = params.verifier
        verifiers = tuple(first.model_copy(update=change) for change in changes or [{}])
        data = params.data.model_copy(update=fields)
        params = params.model_copy(update={"data": data, "verifier": verifiers})
        file = write(tmp_path / "completions.jsonl", completions) if completions else None
        good = try_verifiers(workspace, params, file, limit)
        return good, capsys.readouterr().out

    return tried


def write(file, rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def rows_of(title, output):
    """Files and lines of the rows in the table of that title."""
    _, _, behind = output.partition(f"\n{title}")
    table = behind.partition("└")[0]
    return re.findall(r"\w+\.jsonl:\d+", table)


def test_golds_that_fit_are_good(verify):
    good, output = verify()
    assert good
    assert "8 rows of prompts" in output
    assert re.search(r"right against themselves +│ 8 of 8 \(100\.0%\)", output)
    assert re.search(r"the verifier failed on golds +│ 0 ", output) and "on the next" not in output
    assert "completions" not in output
    assert max(map(len, output.splitlines())) <= 80


def test_few_prompts_are_looked_at(verify):
    good, output = verify(limit=3)
    assert good
    (line,) = (line for line in output.splitlines() if "prompts looked at" in line)
    assert "3" in line


def test_the_reward_of_all_verifiers_is_compared_once(verify):
    shaped = Overlong(buffer_tokens=4, penalty=0.5)
    verifiers = {"overlong": shaped}, {"when": When(set=("prompts",))}
    # Of 24 tokens the 23rd is the third of the last four, which costs 0.375 of one of two verifiers.
    right = RIGHT | {"reward": (1 - 0.375 + 1) / 2}
    good, output = verify(*verifiers, completions=[right])
    assert good
    assert "0 of 1" in output and "numeric 2" in output
    good, output = verify(*verifiers, completions=[right, right | {"reward": 1.0}])
    assert not good
    assert "1 of 2" in output and rows_of("another reward than expected", output) == ["completions.jsonl:2"]


def test_what_cannot_be_known_is_said(verify):
    shaped = Overlong(buffer_tokens=4, penalty=0.5)
    completion = {"x": {"q": "2+1"}, "completion": "3"}
    _, output = verify({"overlong": shaped}, completions=[completion])
    assert "data/reference is not there yet" in output
    assert "1 completions have no token_ids: verifier.overlong takes nothing off them" in output
    _, output = verify({"thinking": "keep"}, completions=[completion])
    assert "data/reference" not in output


def test_a_verifier_without_a_prompt_and_a_prompt_without_a_verifier_are_not_good(verify):
    good, output = verify({}, {"when": When(set=("tpyo",))}, limit=1)
    assert not good
    unused = "numeric with when {set: [tpyo]} is for no prompt; there are sets: held_out, prompts"
    assert unused in output
    good, output = verify({"when": When(set=("prompts",))}, limit=1)
    assert not good
    assert "no verifier is for set held_out (held_out.jsonl:1): see verifier.when" in output


def test_file_and_line_stay_whole(verify):
    _, output = verify(completions=[{"x": {"q": "2+1"}, "completion": "no idea " * 30}])
    assert "no answer read" in output and "completions.jsonl:1" in output


def test_rows_to_look_at_name_the_verifier_where_there_are_several(verify):
    _, output = verify({}, {"name": "choice"})
    assert "gold refused (choice)" in output and "(numeric)" not in output


@pytest.mark.slow
def test_golds_that_the_verifier_failed_on_are_not_right(verify, tmp_path):
    mine = Workspace(tmp_path).raw_verifiers / "mine.py"
    mine.parent.mkdir(parents=True)
    mine.write_text("def score(completion, answer, row):\n    return {'1': 1.0, '2': 1.0}[answer]\n")
    good, output = verify({"name": "mine:score", "extract": ("whole",), "workers": 1})
    assert not good
    assert re.search(r"right against themselves +│ 2 of 8 \(25\.0%\)", output)
    assert re.search(r"the verifier failed on golds +│ 6 ", output)
    assert re.search(r"on the next prompt's +│ 6 ", output)


def test_rows_that_are_not_shown_are_counted(verify):
    rows = [{"x": {"q": "2+1"}, "completion": "no idea"}] * 14
    _, output = verify(completions=rows)
    assert len(rows_of("no answer read", output)) == 5
    assert output.count("and 9 more\n") == 1
    _, output = verify(completions=rows[:5])
    assert len(rows_of("no answer read", output)) == 5 and " more\n" not in output
