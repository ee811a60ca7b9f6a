"""A plan compared with a machine, and the workload it is of."""

from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
import typer
from builders import ROOT

from apo_core.errors import ApoError
from apo_core.plan.hardware import GPUS, gpu_named, machine_of
from apo_core.tables import PROMPTS, SAMPLES, VALUES, write_table
from flows.cli.set_up import doctor
from flows.doctor.plan import make_plan
from flows.doctor.this_machine import planned_machine, this_machine
from flows.doctor.workload import Workload, workload_of
from flows.workspaces import load_preset
from tasks.workspace import Workspace

EVERYWHERE = ["sampling.workers=4", "train.ranks=4"]


@pytest.fixture(autouse=True)
def _presets(root):
    """They lie beside the code."""


def plan(tmp_path, preset="embedded", assignments=(), machine=None, **more):
    return make_plan(Workspace(tmp_path), load_preset(preset, assignments), machine or this_machine(), **more)


def finding_on(plan, subject):
    (finding,) = (finding for finding in plan.findings if finding.subject == f"plan: {subject}")
    return finding


@pytest.mark.parametrize(("free", "good"), [(10 * 2**30, True), (2**20, False)])
def test_checkpoints_that_the_disk_does_not_hold_are_a_problem(tmp_path, monkeypatch, free, good):
    here = this_machine()
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    finding = finding_on(plan(tmp_path, machine=here), "disk")
    assert finding.good == good
    assert f"of {free / 2**30:.1f} free" in finding.detail


def test_memory_is_held_against_the_device_and_leaves_room(tmp_path):
    here = this_machine()
    assert finding_on(plan(tmp_path, machine=here), "memory").good
    small = replace(here, device_mib=800.0)
    detail = finding_on(plan(tmp_path, machine=small), "memory")
    assert not detail.good
    assert "train.micro_batch_tokens" in detail.detail


def test_more_ranks_than_gpus_are_a_problem(tmp_path):
    finding = finding_on(
        plan(tmp_path, assignments=["train.ranks=2"], machine=machine_of("4090", 1)), "memory"
    )
    assert (finding.good, finding.detail) == (False, "train.ranks is 2, and there are 1 GPUs")


def test_more_workers_than_gpus_are_refused_as_the_run_refuses_them(tmp_path):
    assignments = ["sampling.workers=2", "sampler.engine=vllm", "sampler.vllm.tensor_parallel_size=2"]
    two = finding_on(plan(tmp_path, assignments=assignments, machine=machine_of("4090", 2)), "memory")
    assert (two.good, two.detail) == (False, "sampling.workers: they need 4 GPUs, and there are 2")
    for machine, more in (
        (machine_of("4090", 4), []),
        (machine_of("4090", 2), ["sampling.shard_prompts=9999"]),
    ):
        enough = finding_on(plan(tmp_path, assignments=[*assignments, *more], machine=machine), "memory")
        assert "sampling.workers" not in enough.detail  # a worker without a shard is not started
    single = finding_on(plan(tmp_path, assignments=assignments[1:], machine=machine_of("4090", 1)), "memory")
    assert single.detail == "sampler.vllm.tensor_parallel_size is 2, and there are 1 GPUs"


def test_a_cache_that_holds_no_response_is_a_problem(tmp_path):
    assignments = ["sampler.engine=vllm", "sampler.vllm.gpu_memory_utilization=0.6"]
    finding = finding_on(plan(tmp_path, "qwen2.5-7b-math", assignments, machine_of("4090", 4)), "memory")
    assert not finding.good
    assert finding.detail.startswith("sampler.vllm: vLLM gets 14.1 GiB")


@pytest.mark.slow
def test_the_published_run_takes_half_its_time_on_four_h100(tmp_path):
    """11.0 hours were published: 7,500 prompts, 25 epochs, batches of 256; responses of 512 tokens."""
    h100 = plan(tmp_path, "qwen2.5-7b-math", EVERYWHERE, machine_of("H100-80", 4), look_at_disk=False)
    assert all(finding.good for finding in h100.findings)
    assert h100.run.steps == 733
    assert 2 < h100.hours < 6
    a100 = plan(tmp_path, "qwen2.5-7b-math", EVERYWHERE, machine_of("A100-80", 4), look_at_disk=False)
    assert a100.hours > 1.5 * h100.hours
    by_transformers = [*EVERYWHERE, "sampler.engine=transformers", "train.sampler.engine=transformers"]
    slow = plan(tmp_path, "qwen2.5-7b-math", by_transformers, machine_of("H100-80", 4), look_at_disk=False)
    assert slow.hours > 1.5 * h100.hours
    single = ["train.ranks=1"]
    on_one = plan(tmp_path, "qwen2.5-7b-math", single, machine_of("H100-80", 1), look_at_disk=False)
    assert not finding_on(on_one, "memory").good


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("B300", 2, False), "unknown GPU 'B300'; known are A100-40"),
        ((None, 2, False), "--gpus: needs --gpu"),
        (("H200", 2, True), "--measure: measures this machine"),
    ],
)
def test_options_that_contradict_each_other_are_refused(arguments, problem):
    with pytest.raises(ApoError, match=problem):
        planned_machine(*arguments)


def test_another_machine_is_planned_without_a_look_at_this_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    doctor(params=ROOT / "presets/embedded.yaml", gpu="L40S", gpus=1)
    out = capsys.readouterr().out
    assert "1 x L40S, 44.4 GiB per GPU" in " ".join(out.replace("│", " ").split())
    assert "python" not in out
    with pytest.raises(typer.Exit):
        doctor(params=ROOT / "presets/embedded.yaml", gpu="L40S", gpus=1, overrides=["train.ranks=2"])


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("NVIDIA H100 80GB HBM3", "H100-80"),
        ("NVIDIA A100-SXM4-40GB", "A100-40"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA GeForce RTX 4090", "4090"),
        ("NVIDIA L40S", "L40S"),
        ("Tesla T4", None),
    ],
)
def test_a_drivers_name_finds_its_row(name, row):
    assert gpu_named(name) == row
    assert row is None or row in GPUS


def test_a_workload_is_assumed_then_known(tmp_path):
    workspace, params = Workspace(tmp_path), load_preset("qwen2.5-7b-math")
    assumed = workload_of(workspace, params)
    assert (assumed.train_prompts, assumed.response_tokens, assumed.steps(params)) == (7_500, 512, 733)
    assert workload_of(workspace, params, response_tokens=300).response_tokens == 300
    workspace.prompts.parent.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame({name: ["x"] * 3 for name in PROMPTS.names})
    write_table(workspace.prompts, frame.assign(split=["train", "train", "eval"]), PROMPTS)
    prepared = workload_of(workspace, params)
    assert (prepared.train_prompts, prepared.eval_prompts) == (2, 1)
    rows = {"prompt_id": ["a", "a", "b", "b"], "sample_index": [0, 1, 0, 1]}
    texts = {name: ["x"] * 4 for name in ("text", "finish_reason", "extracted", "reason", "parts")}
    samples = pd.DataFrame({**rows, **texts, "token_ids": [[1] * 10, [1] * 20, [1], [1]], "reward": 1.0})
    write_table(workspace.samples, samples, SAMPLES)
    sampled = workload_of(workspace, params)
    assert (sampled.response_tokens, sampled.responses_per_prompt) == (8, 2)
    numbers = {
        name: [0.5, 0.5] for name in ("v_star", "mean_reward", "expected_reward", "solvable", "max_reward")
    }
    values = pd.DataFrame({"prompt_id": ["a", "b"], **numbers, "n": [2, 2], "dropped": [None, "unsolved"]})
    write_table(workspace.values, values, VALUES)
    assert workload_of(workspace, params).kept_prompts == 1


def test_the_hours_of_a_configuration_add_up(tmp_path):
    workload = Workload(
        train_prompts=1024,
        kept_prompts=1024,
        eval_prompts=512,
        responses_per_prompt=8,
        prompt_tokens=30.0,
        response_tokens=20.0,
        source="by hand",
    )
    result = plan(tmp_path, workload=workload)
    assert result.hours == pytest.approx(sum(part.seconds for part in result.parts) / 3600)
    assert result.run.steps == 64
    once = {"start", "checkpoints"}
    steps = sum(part.seconds for part in result.parts if part.stage == "train" and part.name not in once)
    assert result.step_seconds == pytest.approx(steps / 64)
    assert "by hand" in finding_on(result, "hours").detail


@pytest.mark.parametrize(
    ("assignments", "recorded"),
    [
        ([], False),
        (["algorithm.minibatches=2"], False),
        (["algorithm.minibatches=2", "train.sampler.engine=vllm"], True),  # what sampled is compared with it
        (["train.sampler.engine=vllm"], False),  # the first update's own forward pass is
        (["algorithm=grpo", "algorithm.minibatches=2"], True),
    ],
)
def test_log_probs_before_the_first_update_are_planned_where_they_are_computed(
    tmp_path, assignments, recorded
):
    assert plan(tmp_path, assignments=assignments).run.recorded == recorded


def test_tables_of_another_task_say_nothing_of_a_preset(tmp_path):
    workspace, own = Workspace(tmp_path), load_preset("embedded")
    workspace.params.write_text((ROOT / "presets/embedded.yaml").read_text())
    workspace.prompts.parent.mkdir()
    frame = pd.DataFrame({name: ["x"] * 3 for name in PROMPTS.names})
    write_table(workspace.prompts, frame.assign(split=["train", "train", "eval"]), PROMPTS)
    assert workload_of(workspace, own).source.startswith("prompts as prepared")
    other = workload_of(workspace, load_preset("qwen2.5-7b-math"))
    assert (other.train_prompts, other.source.startswith("as many prompts as MATH")) == (7500, True)
