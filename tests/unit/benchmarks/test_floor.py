"""The floor against figures computed by hand, and the shares that the report prints."""

from dataclasses import replace

import pytest

from apo_core.plan.hardware import Rates
from apo_core.plan.model_shape import ModelShape
from benchmarks.contestants import CONTESTANTS, GRPO
from benchmarks.floor import floor, sampling_work, update_work
from benchmarks.report import table_of

RATES = Rates(float32=1e9, bfloat16=2e9, bandwidth=1e9)
# Without attention or a cache; 100 weights in layers, 10 in the head.
MODEL = ModelShape(
    parameters=120,
    layer_weights=100,
    head_weights=10,
    largest=10,
    layers=1,
    hidden=10,
    attention=0,
    cached=0,
    vocabulary=1,
)


def by_name(works):
    return {work.name: work for work in works}


def test_decoding_reads_all_weights_once_per_token():
    prefill, decode = sampling_work(MODEL, "float32", prompts=8, samples=4)
    assert prefill.flop == 8 * 112 * 200 + 8 * 20
    assert prefill.traffic == 110 * 4
    assert decode.flop == 32 * 63 * 220
    assert decode.traffic == 63 * 110 * 4


def test_a_backward_pass_is_two_forward_passes_and_checkpointing_makes_it_three():
    plain = by_name(update_work(MODEL, "float32", rows=8, reference=None))
    light = by_name(update_work(MODEL, "float32", rows=8, reference=None, checkpointing=True))
    layers, head = 8 * 176 * 200, 8 * 64 * 20
    assert plain["forward"].flop == layers + head
    assert plain["backward"].flop == 2 * layers + 2 * head
    assert light["backward"].flop == 3 * layers + 2 * head
    assert plain["optimizer"].traffic == 120 * 28


def test_the_reference_policy_counts_at_its_own_precision():
    works = by_name(update_work(MODEL, "float32", rows=8, reference="bfloat16"))
    same = by_name(update_work(MODEL, "float32", rows=8, reference="float32"))
    arithmetic = works["forward"].flop / 1e9
    assert works["reference log-probs"].floor(RATES) == pytest.approx(arithmetic / 2 + 220 / 1e9)
    assert same["reference log-probs"].floor(RATES) == pytest.approx(arithmetic + 440 / 1e9)


def test_attention_and_the_cache_by_hand():
    model = replace(MODEL, attention=10, cached=20)
    prefill, decode = sampling_work(model, "float32", prompts=8, samples=4)
    # 4 operations per number and token before, half of the prompt's on average; a decoded token sees all.
    assert prefill.flop == 8 * 112 * (200 + 4 * 10 * 56) + 8 * 20
    assert decode.flop == 32 * 63 * (220 + 4 * 10 * 144)
    # Four responses read one prompt's cache, and their own.
    assert decode.traffic == 63 * (110 + (8 * 112 + 32 * 32) * 20) * 4
    forward = by_name(update_work(model, "float32", rows=8, reference=None))["forward"]
    assert forward.flop == 8 * 176 * (200 + 4 * 10 * 88) + 8 * 64 * 20


def test_attention_and_the_cache_add_to_the_floor():
    whole = replace(MODEL, attention=10, cached=20)
    for mine, more in zip(
        sampling_work(MODEL, "float32", prompts=8, samples=1)
        + update_work(MODEL, "float32", rows=8, reference="float32")[:3],
        sampling_work(whole, "float32", prompts=8, samples=1)
        + update_work(whole, "float32", rows=8, reference="float32")[:3],
        strict=True,
    ):
        assert more.floor(RATES) > mine.floor(RATES), mine.name


def test_grpo_computes_eight_responses_per_prompt_without_a_reference_policy():
    floors = {each.name: each.floor_seconds_per_prompt(MODEL, RATES) for each in CONTESTANTS}
    works = sampling_work(MODEL, "float32", prompts=1, samples=8)
    works += update_work(MODEL, "float32", rows=8, reference=None)
    assert floors[GRPO] == pytest.approx(floor(works, RATES))
    ours = sampling_work(MODEL, "float32", prompts=8, samples=1)
    ours += update_work(MODEL, "float32", rows=8, reference="float32")
    assert floors["ours, float32"] == pytest.approx(floor(ours, RATES) / 8)
    assert floors["ours, bfloat16"] < floors["ours, float32"] < floors["ours, float32, light"]


def test_the_table_gives_both_stages_shares_of_the_floor():
    names = ("peer", "grpo")
    measures = {
        "stage1_tokens_per_second": 50.0,
        "stage2_seconds_per_prompt": 2.0,
        "peak_rss_mib": 1000.0,
        "planned_mib": None,
    }
    floors = {"stage1_tokens_per_second": 200.0, "stage2_seconds_per_prompt": 1.5}
    table = table_of(
        dict.fromkeys(names, measures), dict.fromkeys(names, floors), "x", turns=1, rates=RATES, peers=names
    )
    row = next(line for line in table.splitlines() if line.startswith("| peer"))
    assert row.endswith("| 25% | 75% |")
    assert "1 GFLOP/s in float32, 2 in bfloat16, and reads 1.0 GB/s" in table
