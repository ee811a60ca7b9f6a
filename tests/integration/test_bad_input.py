"""Bad input ends in one clear line, an exit status that is not 0, and nothing half-written."""

import gzip
import json
import re
import shutil

import pandas as pd
import pytest
from builders import execute, run_stage

from apo_core.config.file import set_params
from apo_core.errors import ApoError
from apo_core.tables import PROMPTS, VALUES, read_metadata, read_table, write_table
from tasks.stages import prepare, reference, train, validate, values
from tasks.workspace import Workspace

pytestmark = pytest.mark.first

GOOD = [{"prompt": f"1+{n}=", "answer": 1 + n} for n in range(1, 6)]


def refused(stage, workspace):
    with pytest.raises(ApoError) as error:
        run_stage(stage, workspace)
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.fixture
def files(workspace):
    """A workspace that reads JSONL files, with a good evaluation file."""
    paths = Workspace(workspace)
    set_params(
        paths.params,
        [
            "data.source=files",
            "data.train_files=[train.jsonl]",
            "data.eval_files=[test.jsonl]",
            "data.train_prompts=null",
            "data.eval_prompts=null",
            "reference.source=directory",
        ],
    )
    write(paths, "train.jsonl", GOOD)
    write(paths, "test.jsonl", [{"prompt": "2+2=", "answer": "4"}])
    for table in (paths.prompts, paths.validation("prompts")):
        table.unlink()
    return paths


def write(paths, name, rows):
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (paths.raw_prompts / name).write_text("".join(f"{line}\n" for line in lines))


def test_files_of_other_usual_forms_pass(files):
    rows = [
        {"prompt": [{"role": "user", "content": row["prompt"]}], "answer": [row["answer"]], "index": index}
        for index, row in enumerate(GOOD)
    ]
    (files.raw_prompts / "train.jsonl").unlink()
    (files.raw_prompts / "train.ndjson.gz").write_bytes(
        gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())
    )
    set_params(files.params, ["data.train_files=[train.ndjson.gz]"])
    assert run_stage(prepare, files)["train"] == 5
    assert run_stage(validate, files)["prompts"] == 6
    prompts = read_table(files.prompts, PROMPTS)
    assert set(prompts["set"]) == {"train", "test"}
    assert list(prompts["prompt"][:2]) == ["1+1=", "1+2="]


def test_good_files_pass(files):
    assert run_stage(prepare, files)["train"] == 5
    assert run_stage(validate, files)["prompts"] == 6


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], "train.jsonl: holds no prompts"),
        ([GOOD[0], '{"prompt": "1+'], "train.jsonl:2: malformed JSON"),
        ([GOOD[0], "[1]"], "train.jsonl:2: must be a JSON object"),
        ([{"question": "1+1="}], "train.jsonl:1: prompt: is missing; the row has question"),
        ([{"prompt": 7, "answer": 7}], "train.jsonl:1: prompt: must be text, found 7"),
        ([GOOD[0], {"prompt": "1", "answer": True}], "train.jsonl:2: answer: must be text or a number"),
        ([GOOD[0], {"prompt": "  ", "answer": 1}], "train.jsonl:2: prompt: is empty"),
    ],
)
def test_a_bad_row_is_refused(files, rows, expected):
    write(files, "train.jsonl", rows)
    assert expected in refused(prepare, files)
    assert not files.prompts.exists()


def test_a_missing_file_is_refused(files):
    (files.raw_prompts / "train.jsonl").unlink()
    assert "train.jsonl: no such file" in refused(prepare, files)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": "3+3=", "answer": "six"}, "train.jsonl:6: answer: cannot be read by the verifier"),
        ({"prompt": "1+" * 40 + "1=", "answer": 41}, "train.jsonl:6: prompt: is longer than"),
        (
            {"prompt": [{"role": "system", "content": "1"}, {"role": "user", "content": "2"}], "answer": 2},
            "train.jsonl:6: prompt: has turns of system, user; template.style raw reads one text",
        ),
    ],
)
def test_prompts_that_cannot_be_trained_on_are_refused(files, row, expected):
    write(files, "train.jsonl", [*GOOD, row])
    run_stage(prepare, files)
    assert expected in refused(validate, files)
    report = json.loads(files.validation("prompts").read_text())
    assert [check for check in report["checks"] if check["rows"]]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (
            "generation.max_new_tokens=500",
            "params.yaml: template.max_prompt_tokens 64 and",
        ),
        ("generation.stop_character=é", "generation.stop_character: the tokenizer has no token whose text"),
        ("template.text='{prompt}<eos>'", "train.jsonl:1 and 5 more rows: prompt: ends with '<eos>'"),
        ("template.style=chat", "the tokenizer has no chat template"),
    ],
)
def test_a_configuration_that_does_not_suit_the_model_is_refused(files, setting, expected):
    run_stage(prepare, files)
    set_params(files.params, [setting])
    assert expected in refused(validate, files)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (GOOD[1], "train.jsonl:6: prompt: is a duplicate of train.jsonl:2; data.duplicates: drop"),
        ({"prompt": "2 + 2 =", "answer": 4}, "train.jsonl:6: prompt: gives test.jsonl:1 of set test away"),
    ],
)
def test_prompts_that_are_others_again_are_refused(files, row, expected):
    write(files, "train.jsonl", [*GOOD, row])
    assert expected in refused(prepare, files)
    assert not files.prompts.exists()


def test_duplicates_that_another_program_wrote_are_refused(files):
    run_stage(prepare, files)
    prompts = read_table(files.prompts, PROMPTS)
    write_table(files.prompts, pd.concat([prompts, prompts.iloc[1:2]]), PROMPTS)
    assert "train.jsonl:2 and 1 more rows: prompt: is a duplicate" in refused(validate, files)


def test_no_sampling_starts_on_refused_prompts(files):
    write(files, "train.jsonl", [*GOOD, {"prompt": "3+3=", "answer": "six"}])
    shutil.copytree(files.reference, files.raw_model, dirs_exist_ok=True)
    done = execute("dvc repro", files.root, check=False)
    assert done.returncode != 0
    assert "error: data/prompts.parquet: train.jsonl:6: answer: cannot be read" in done.stdout
    assert "Running stage 'validate'" in done.stdout
    assert "Running stage 'sample'" not in done.stdout


def test_prompts_that_are_all_too_long_are_refused(files):
    set_params(files.params, ["data.too_long=drop", "template.max_prompt_tokens=2"])
    assert "data: no eval prompt is left of 1: all are longer than template.max_prompt_tokens" in refused(
        prepare, files
    )
    assert not files.prompts.exists()


@pytest.mark.parametrize(
    ("remove", "expected"),
    [
        ("config.json", "config.json is missing"),
        ("model.safetensors", "has no *.safetensors weights"),
        ("tokenizer_config.json", "tokenizer_config.json is missing"),
    ],
)
def test_a_directory_that_is_no_model_is_refused(files, remove, expected):
    before = files.reference / "model.safetensors"
    shutil.copytree(files.reference, files.raw_model, dirs_exist_ok=True)
    (files.raw_model / remove).unlink()
    assert expected in refused(reference, files)
    assert before.exists()


def test_weights_that_are_not_weights_are_refused(files):
    shutil.copytree(files.reference, files.raw_model, dirs_exist_ok=True)
    (files.raw_model / "model.safetensors").write_bytes(b"not weights")
    assert str(files.raw_model) in refused(reference, files)


def test_the_value_table_of_another_model_is_refused(workspace):
    paths = Workspace(workspace)
    metadata = read_metadata(paths.values)
    metadata["fingerprint"]["reference"] = "0" * 64
    write_table(paths.values, read_table(paths.values, VALUES), VALUES, metadata)
    assert "other conditions: reference was 0000000000000000 and is" in refused(train, paths)


def test_values_of_other_prompts_are_refused(workspace):
    paths = Workspace(workspace)
    prompts = read_table(paths.prompts, PROMPTS)
    write_table(paths.prompts, pd.DataFrame(prompts.iloc[1:]), PROMPTS)
    assert "other conditions: prompts was" in refused(train, paths)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("train.stepz=3", "params.yaml: train.stepz: unknown parameter"),
        ("values.beta1=0", "values.beta1: must be greater than 0"),
        ("train.ranks=7", "batch_size 128 is not a multiple of ranks 7"),
        ("generation.top_p=0.9", "generation.top_p: is of an earlier version: delete the line"),
    ],
)
def test_a_bad_parameter_is_refused_and_changes_nothing(workspace, key, expected):
    before = (workspace / "params.yaml").read_text()
    done = execute(f"apo run --set {key}", workspace, check=False)
    assert done.returncode == 2
    assert expected in done.stdout
    assert "Traceback" not in done.stdout
    assert (workspace / "params.yaml").read_text() == before


def test_a_full_disk_stops_before_the_checkpoint(workspace):
    command = "apo stage train --force --set train.checkpoint.min_free_mib=100000000"
    done = execute(command, workspace, check=False)
    assert done.returncode == 2
    assert "a checkpoint needs 100000" in done.stdout
    assert not list((workspace / "data/unfinished/train/checkpoints").glob("*"))
    assert not (workspace / "data/policy").exists()


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("apo stage nonsense", "unknown stage 'nonsense'; there are reference, prepare"),
        ("apo run -w nowhere", "nowhere/params.yaml: no such file"),
        ("apo init . --preset ci", "is there already and not empty"),
        ("apo init new --preset nonsense", "qwen2.5-7b-math  "),  # the last preset of the list
        (
            "apo init new --preset ci --train-prompts nowhere.jsonl --eval-prompts params.yaml",
            "nowhere.jsonl: no such file",
        ),
        (
            "apo init new --preset ci --train-prompts params.yaml",
            "and for evaluation, or for neither",
        ),
        ("apo fetch nonsense new", "unknown model 'nonsense'; there are smollm2"),
    ],
)
def test_a_bad_command_is_one_line(workspace, command, expected):
    done = execute(command, workspace, check=False)
    assert done.returncode == 2
    assert expected in done.stdout.strip().splitlines()[-1]
    assert not (workspace / "new").exists()


def test_a_band_that_no_prompt_is_in_leaves_the_table_as_it_was(workspace):
    paths = Workspace(workspace)
    before = paths.values.read_bytes()
    set_params(paths.params, ["values.estimate=published", "values.keep_mean_reward=[0.3, 0.4]"])  # N is 4
    with pytest.raises(ApoError, match=r"none of 128 prompts is left to train on: \d+ \w+.*keep_mean_reward"):
        run_stage(values, paths)
    assert paths.values.read_bytes() == before


def test_a_new_workspace_says_what_it_still_needs(tmp_path):
    output = execute("apo init new --preset gsm8k-smollm2", tmp_path).stdout
    assert re.search(r"still needed: prompts: missing in .*: train.jsonl, test.jsonl", output)
    assert "still needed: model: " in output
    assert "Then: apo doctor -w new, apo verify -w new, apo run -w new" in output
    assert "Next: apo run -w other" in execute("apo init other --preset ci", tmp_path).stdout
