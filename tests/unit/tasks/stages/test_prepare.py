"""Stage `prepare` on files of a workspace, without any other stage."""

import json

import pytest

from apo_core.config.file import set_params
from apo_core.errors import ApoError, InputError
from apo_core.system.files import read_json
from apo_core.tables import PROMPTS, read_table
from flows.workspaces import preset_text
from tasks.stages import prepare
from tasks.stages.process import sections_of
from tasks.workspace import Workspace

LONG = "Ann has 3 red boxes with 7 nuts in each of them and gives away 5. How many nuts are left?"


def write(workspace, name, rows):
    workspace.raw_prompts.mkdir(parents=True, exist_ok=True)
    (workspace.raw_prompts / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def rows(*prompts, **more):
    return [{"prompt": prompt, "answer": "1", **more} for prompt in prompts]


@pytest.fixture
def workspace(tmp_path):
    workspace = Workspace(tmp_path)
    workspace.params.write_text(preset_text("gsm8k-smollm2"))
    change(workspace, "data.prompt_field=prompt")
    write(workspace, "test.jsonl", rows("What is 2+2?", LONG))
    return workspace


def change(workspace, *overrides):
    return set_params(workspace.params, overrides)


def run(workspace, *overrides):
    params = change(workspace, *overrides)
    return prepare.run(workspace, **{name: getattr(params, name) for name in sections_of(prepare.run)})


def table(workspace, split):
    prompts = read_table(workspace.prompts, PROMPTS)
    return prompts[prompts["split"] == split]


def prompts(workspace, split):
    return list(table(workspace, split)["prompt"])


def test_rows_keep_their_order_and_know_where_they_are_from(workspace):
    write(workspace, "train.jsonl", rows("a 1", "b 2") + rows("c 3", level=None) + rows("d 4", level=5))
    with pytest.raises(InputError, match=r"train.jsonl:1: level: is missing; the row has answer, prompt"):
        run(workspace, "data.group_field=level")
    write(workspace, "train.jsonl", rows("a 1", level="x") + rows("c 3", level=None) + rows("d 4", level=5))
    write(workspace, "test.jsonl", rows(LONG, level="y"))
    assert run(workspace)["train"] == 3
    prompts = table(workspace, "train")
    assert list(prompts["prompt"]) == ["a 1", "c 3", "d 4"]
    assert list(prompts["source"]) == ["train.jsonl:1", "train.jsonl:2", "train.jsonl:3"]
    assert list(prompts["group"])[::2] == ["x", "5"]
    assert prompts["group"].isna().tolist() == [False, True, False]
    assert set(table(workspace, "eval")["set"]) == {"test"}


def test_the_same_files_give_the_same_bytes(workspace):
    write(workspace, "train.jsonl", rows(*(f"number {number}" for number in range(50))))
    run(workspace, "data.train_prompts=20")
    before = workspace.prompts.read_bytes()
    workspace.prompts.unlink()
    run(workspace)
    assert workspace.prompts.read_bytes() == before


def test_duplicates_are_refused_or_dropped_and_counted(workspace):
    write(workspace, "train.jsonl", rows("a 1", "b 2", "a 1", "A: 1?", "c 3"))
    with pytest.raises(InputError) as refused:
        run(workspace)
    assert str(refused.value) == (
        "train.jsonl:3: prompt: is a duplicate of train.jsonl:1 (and 1 more); "
        "data.duplicates: drop leaves it out"
    )
    assert not workspace.prompts.exists()
    facts = run(workspace, "data.duplicates=drop")
    assert prompts(workspace, "train") == ["a 1", "b 2", "c 3"]
    assert (facts["dropped_duplicates"], facts["dropped_near_duplicates"]) == (1, 1)


def test_contamination_is_refused_or_dropped_and_reported(workspace):
    disguised = "Think. " + LONG
    write(workspace, "train.jsonl", rows("a 1", "what is 2 + 2 ?", disguised, LONG.replace("5", "4")))
    with pytest.raises(ApoError) as refused:
        run(workspace)
    assert str(refused.value).startswith(
        "train.jsonl:2: prompt: gives test.jsonl:1 of set test away: the same text except for case, "
        "punctuation and white space and 1 more pairs (all in "
    )
    assert not workspace.prompts.exists()
    report = read_json(workspace.validation("contamination"))
    assert (report["pairs"], report["contaminated"], report["training_prompts"]) == (2, 2, 4)
    assert [(pair["training"], pair["evaluation"]) for pair in report["listed"]] == [
        ("train.jsonl:2", "test.jsonl:1"),
        ("train.jsonl:3", "test.jsonl:2"),
    ]
    assert report["listed"][1]["training_prompt"] == disguised
    facts = run(workspace, "data.contamination=drop")
    assert facts["dropped_contaminated"] == 2
    assert prompts(workspace, "train") == ["a 1", LONG.replace("5", "4")]


def conversation(*turns):
    return [{"role": role, "content": content} for role, content in turns]


def test_conversations_are_compared_by_what_is_asked(workspace):
    asked = conversation(("system", "You add numbers."), ("user", "What is 11 + 22?"))
    other = conversation(("system", "You are terse."), ("user", "what is 11+22"))
    unlike = conversation(("system", "You add numbers."), ("user", "What is 11 + 23?"))
    write(workspace, "train.jsonl", rows(other, unlike))
    write(workspace, "test.jsonl", rows(asked))
    with pytest.raises(ApoError, match=r"train.jsonl:1: prompt: gives test.jsonl:1 of set test away"):
        run(workspace)
    assert run(workspace, "data.contamination=drop")["dropped_contaminated"] == 1
    [left] = prompts(workspace, "train")
    assert "11 + 23" in left


def test_the_gate_looks_at_every_evaluation_prompt_however_few_are_taken(workspace):
    write(workspace, "train.jsonl", rows("a 1", "What is 2 + 2?", LONG.upper()))
    assert run(workspace, "data.eval_prompts=1", "data.contamination=drop")["dropped_contaminated"] == 2


def test_what_is_dropped_is_made_up_for(workspace):
    write(workspace, "train.jsonl", rows(*(f"number {number}" for number in range(8)), LONG.upper()))
    facts = run(workspace, "data.train_prompts=8", "data.contamination=drop")
    assert facts["train"] == 8
    with pytest.raises(InputError, match=r"data.train_prompts: 9 prompts are asked for, there are 8"):
        run(workspace, "data.train_prompts=9")


def test_a_column_divides_the_rows(workspace):
    parts = [("a 1", "train"), ("b 2", 7), ("c 3", "test"), ("d 4", "hard"), ("e 5", "train")]
    write(workspace, "all.jsonl", [row for prompt, part in parts for row in rows(prompt, part=part)])
    column = ["data.split_field=part", "data.train_rows=[train]", "data.eval_rows=[test, hard]"]
    run(workspace, "data.train_files=[all.jsonl]", "data.eval_files=[]", "data.split=column", *column)
    assert prompts(workspace, "train") == ["a 1", "e 5"]
    assert list(table(workspace, "eval")["set"]) == ["test", "hard"]
    with pytest.raises(InputError, match="data: no train prompt is left of 0"):
        run(workspace, "data.train_rows=[trian]")


def test_a_seed_divides_the_rows_and_stays_when_rows_are_added(workspace):
    texts = [f"number {number}" for number in range(200)]
    overrides = [
        "data.train_files=[all.jsonl]",
        "data.eval_files=[]",
        "data.split=seed",
        "data.eval_prompts=40",
    ]
    write(workspace, "all.jsonl", rows(*texts[:150]))
    run(workspace, *overrides)
    before = set(prompts(workspace, "eval"))
    assert (len(before), len(prompts(workspace, "train"))) == (40, 110)
    assert not before & set(prompts(workspace, "train"))
    assert set(table(workspace, "eval")["set"]) == {"all"}
    write(workspace, "all.jsonl", rows(*reversed(texts)))
    run(workspace)
    after = set(prompts(workspace, "eval"))
    assert len(after) == 40
    assert after & set(texts[:150]) <= before  # what is new has displaced some
    run(workspace, "seed=1")
    assert set(prompts(workspace, "eval")) != after


def test_two_evaluation_sets_of_one_name_keep_apart(workspace):
    write(workspace, "train.jsonl", rows("a 1"))
    for name in ("x", "y"):
        (workspace.raw_prompts / name).mkdir()
        write(workspace, f"{name}/test.jsonl", rows(f"{name} 9"))
    run(workspace, "data.eval_files=[x/test.jsonl, y/test.jsonl]")
    assert list(table(workspace, "eval")["set"]) == ["x/test.jsonl", "y/test.jsonl"]
    assert list(table(workspace, "eval")["source"]) == ["x/test.jsonl:1", "y/test.jsonl:1"]


def test_a_remote_entry_without_its_mirror_is_refused(workspace):
    write(workspace, "train.jsonl", rows("a 1"))
    with pytest.raises(InputError, match=r"s3://b/k.jsonl is not here yet; `apo fetch-prompts` gets it"):
        run(workspace, "data.train_files=[s3://b/k.jsonl]")


def test_a_generated_task_takes_as_many_as_are_asked_for(workspace):
    pytest.importorskip("reasoning_gym", reason="reasoning-gym is not installed")
    task = "[reasoning_gym:coin_flip]"  # its questions differ in a word
    counts = ["data.train_prompts=30", "data.eval_prompts=10"]
    facts = run(workspace, f"data.train_files={task}", f"data.eval_files={task}", *counts)
    assert (facts["train"], facts["eval"]) == (30, 10)
    assert not set(prompts(workspace, "train")) & set(prompts(workspace, "eval"))
