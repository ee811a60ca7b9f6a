"""The hours of a whole run: by hand where one part is looked at, and growing where they must."""

from dataclasses import replace

import pytest

from apo_core.plan.hardware import Machine, Rates, machine_of
from apo_core.plan.hours import plan_hours, step_seconds
from apo_core.plan.model_shape import ModelShape
from apo_core.plan.run_shape import RunShape, SamplerShape

# About Qwen2.5-1.5B.
MODEL = ModelShape(
    parameters=1_543_714_304,
    layer_weights=1_310_000_000,
    head_weights=233_373_696,
    largest=233_373_696,
    layers=28,
    hidden=1536,
    attention=1536,
    cached=14_336,
    vocabulary=151_936,
)
VLLM = SamplerShape(vllm=True, slots=256)
RUN = RunShape(
    model=MODEL,
    prompt_tokens=100,
    response_tokens=512,
    max_new_tokens=1024,
    score_seconds=0.01,
    score_workers=2,
    prompts=1024,
    n=8,
    shard_prompts=256,
    workers=4,
    sampling_dtype="bfloat16",
    sampler=VLLM,
    steps=100,
    batch_size=256,
    responses=1,
    epochs=1,
    minibatches=1,
    reference=True,
    recorded=False,
    critic=False,
    lagging_every=None,
    trained=MODEL.parameters,
    lora=False,
    dtype="bfloat16",
    ranks=4,
    zero_stage=2,
    offload="none",
    checkpointing=True,
    micro_batch_tokens=20_480,
    train_sampler=VLLM,
    sleeps=True,
    checkpoint_every=50,
    eval_prompts=512,
    eval_samples=4,
    eval_shard_prompts=128,
    evaluation_dtype="bfloat16",
)
H100 = machine_of("H100-80", 4)


def seconds(run, machine=H100, stage=None, name=None):
    return sum(
        part.seconds
        for part in plan_hours(run, machine)
        if stage in (None, part.stage) and name in (None, part.name)
    )


@pytest.mark.parametrize(
    "more",
    [
        {"steps": 200},
        {"batch_size": 512},
        {"responses": 8},
        {"epochs": 4, "recorded": True},
        {"critic": True, "trained": 2 * MODEL.parameters},
        {"response_tokens": 700},
        {"prompt_tokens": 200},
        {"n": 16},
        {"eval_prompts": 1024},
        {"checkpoint_every": 10},
        {"zero_stage": 3},
        {"offload": "optimizer"},
        {"score_seconds": 0.1},
        {"train_sampler": SamplerShape(vllm=False, slots=256)},  # Python waits for the GPU
        {"train_sampler": SamplerShape(vllm=True, slots=16)},
        {"sampler": SamplerShape(vllm=True, slots=32)},
        {"workers": 1},
        {"dtype": "float32"},
        {"lagging_every": 1},
    ],
)
def test_a_run_takes_longer_by(more):
    assert seconds(replace(RUN, **more)) > 1.0001 * seconds(RUN)


@pytest.mark.parametrize(
    "less", [{"checkpointing": False}, {"reference": False}, {"lora": True, "trained": 10**7}]
)
def test_a_run_takes_less_by(less):
    assert seconds(replace(RUN, **less)) < 0.999 * seconds(RUN)


def test_weights_that_lay_frozen_beside_adapters_go_to_vllm_again_after_its_sleep():
    adapters = replace(RUN, lora=True, trained=10**7, dtype="bfloat16")
    awake = seconds(replace(adapters, sleeps=False), name="weights to vLLM")
    asleep = seconds(adapters, name="weights to vLLM")
    whole = seconds(RUN, name="weights to vLLM")
    assert awake < 0.5 * whole < whole < asleep < 1.05 * whole


def test_faster_gpus_and_more_of_them_take_less():
    machines = [machine_of(gpu, 4) for gpu in ("4090", "A100-80", "H100-80", "H200")]
    hours = [seconds(RUN, machine) for machine in machines]
    assert hours == sorted(hours, reverse=True)
    assert seconds(replace(RUN, ranks=1), machine_of("H100-80", 1)) > 1.4 * seconds(RUN)


def test_every_gpu_samples_and_cores_are_shared():
    by_one = seconds(replace(RUN, workers=1), stage="sample", name="responses")
    assert seconds(RUN, stage="sample", name="responses") == pytest.approx(by_one / 4)
    host = Machine(
        name="cores", gpus=0, device_mib=1e5, rates=Rates(float32=4e11, bfloat16=8e11, bandwidth=4e10)
    )
    slow = replace(RUN, sampler=SamplerShape(vllm=False, slots=2048), sampling_dtype="float32")
    shared = seconds(slow, host, "sample", "responses")
    assert shared == pytest.approx(seconds(replace(slow, workers=1), host, "sample", "responses"), rel=0.3)


def test_checkpoints_by_hand():
    # Two of them, 2 + 4 + 8 bytes per parameter, 1 GB a second.
    assert seconds(RUN, name="checkpoints") == pytest.approx(2 * 14 * MODEL.parameters / 1e9)


def test_the_optimizer_by_hand():
    # 42 bytes of a quarter of the parameters, at 85% of 3,350 GB a second, a hundred times.
    own = MODEL.parameters / 4
    assert seconds(RUN, name="optimizer") == pytest.approx(100 * own * 42 / (0.85 * 3350e9))


def test_passes_by_hand():
    """64 rows of 612 tokens in two micro-batches on every rank; nothing of them is hidden."""
    row = 612
    padding = 1 + 1024 / 2 / 2 / row
    layers = 5 * 64 * row * padding * (2 * MODEL.layer_weights + 4 * 28 * 1536 * row / 2)
    head = 5 * 64 * 512 * 2 * MODEL.head_weights
    rate = 989.4e12 * 0.70 * 0.60
    expected = 100 * (layers + head) / rate
    assert seconds(RUN, name="forward and backward") == pytest.approx(expected)


def test_ranks_exchange_what_deepspeed_does():
    reduced = 2 * 2 * MODEL.parameters * 0.75 * 2  # two micro-batches, bfloat16, there and back
    gathered = 2 * MODEL.parameters * 0.75
    assert seconds(RUN, name="between ranks") == pytest.approx(100 * (reduced + gathered) / (0.70 * 450e9))
    assert seconds(replace(RUN, ranks=1), name="between ranks") == 0
    smaller = replace(RUN, micro_batch_tokens=2_048)  # are more
    assert seconds(smaller, name="between ranks") > 5 * seconds(RUN, name="between ranks")


def test_scoring_hides_behind_sampling_and_shows_beyond_it():
    assert seconds(RUN, name="scoring beyond it") == 0
    slow = replace(RUN, score_seconds=10.0)
    sampled = sum(seconds(slow, stage="sample", name=name) for name in ("prompts", "responses"))
    assert seconds(slow, name="scoring beyond it") == pytest.approx(1024 * 8 * 10.0 / 8 - sampled)


def test_a_step_leaves_out_what_happens_once():
    parts = plan_hours(RUN, H100)
    once = sum(
        part.seconds for part in parts if part.name in ("start", "checkpoints") and part.stage == "train"
    )
    train = sum(part.seconds for part in parts if part.stage == "train")
    assert step_seconds(parts, RUN.steps) == pytest.approx((train - once) / 100)


def test_adapters_in_bfloat16_are_sent_alone():
    awake = replace(RUN, sleeps=False)
    adapters = replace(awake, lora=True, trained=10**7)
    weights, adapters_alone = (seconds(run, name="weights to vLLM") for run in (awake, adapters))
    assert weights - adapters_alone == pytest.approx(
        100 * 2 * 2 * (MODEL.parameters - 10**7) / (0.85 * 3350e9)
    )
