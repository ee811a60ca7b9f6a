"""The doctor's look at a model, its tokenizer and the first prompts, without weights."""

import json

import pytest

from apo_core.config import Params
from flows.doctor.inputs import examine_inputs
from flows.doctor.model import examine_model
from flows.workspaces import load_preset
from tasks.workspace import Workspace

SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
CHAT = SYSTEM + "{% for m in messages %}{{ m.content }}{% endfor %}"


@pytest.fixture
def workspace(tmp_path, root, model_directory):
    """A workspace with a model of its own and two files of prompts."""
    new = Workspace(tmp_path)
    new.raw_model.parent.mkdir(parents=True)
    model_directory.rename(new.raw_model)
    new.raw_prompts.mkdir(parents=True)
    for name in ("train.jsonl", "test.jsonl"):
        (new.raw_prompts / name).write_text('{"prompt": "1+1=", "answer": "2"}\n' * 3)
    return new


def params_of(**changes):
    """Preset ci with that model and those files, and changes of sections."""
    content = load_preset("ci").model_dump()
    content["reference"] |= {"source": "directory"}
    content["data"] |= {"source": "files", "train_files": ("train.jsonl",), "eval_files": ("test.jsonl",)}
    content["data"] |= {"train_prompts": None, "eval_prompts": None}
    for section, keys in changes.items():
        content[section] = content[section] | keys
    return Params.model_validate(content)


def edit(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_what_fits_together_says_what_waits_for_the_weights(workspace):
    finding = examine_model(workspace, params_of())
    assert finding.good
    assert "stage reference checks what needs the weights" in finding.detail


def test_the_embedded_task_fits_together(tmp_path, root):
    assert examine_model(Workspace(tmp_path), load_preset("embedded")).good


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"generation": {"max_new_tokens": 500}}, "together 564 tokens, the model has 512 positions"),
        ({"generation": {"stop_character": "é"}}, "no token whose text contains 'é'"),
        ({"template": {"max_prompt_tokens": 3}}, "tokens, and template.max_prompt_tokens is 3"),
        (
            {"template": {"style": "chat", "system": "1"}},
            "refuses template.system: no system role",
        ),
        ({"template": {"text": "{prompt}<eos>"}}, "train.jsonl:1: prompt: ends with '<eos>'"),
    ],
)
def test_what_does_not_fit_is_said(workspace, changes, problem):
    (workspace.raw_model / "chat_template.jinja").write_text(CHAT)
    finding = examine_model(workspace, params_of(**changes))
    assert not finding.good
    assert problem in finding.detail
    assert "\n" not in finding.detail


def test_a_configuration_that_no_policy_has_is_said(workspace):
    edit(workspace.raw_model / "config.json", quantization_config={"quant_method": "fp8"})
    for finding in (
        examine_model(workspace, params_of()),
        *(entry for entry in examine_inputs(workspace, params_of()) if entry.subject == "model"),
    ):
        assert not finding.good
        assert "is quantised (fp8): a policy that trains needs plain weights" in finding.detail


def test_an_embedding_that_ends_before_a_prompts_tokens_is_said(workspace):
    edit(workspace.raw_model / "config.json", vocab_size=14)  # the signs +, - and = come last
    assert "needs token" in examine_model(workspace, params_of()).detail


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"answer_field": "solution"}, "train.jsonl:1: solution: is missing; the row has answer, prompt"),
        ({"prompt_field": "question"}, "train.jsonl:1: question: is missing; the row has answer, prompt"),
        (
            {
                "split": "column",
                "split_field": "fold",
                "eval_files": (),
                "train_rows": ("0",),
                "eval_rows": ("1",),
            },
            "train.jsonl:1: fold: is missing",
        ),
    ],
)
def test_fields_that_the_first_rows_do_not_have_are_said(workspace, data, problem):
    findings = examine_inputs(workspace, params_of(data=data))
    [finding] = [finding for finding in findings if finding.subject == "prompts"]
    assert not finding.good
    assert problem in finding.detail
