"""Memory of engines, by hand."""

import pytest

from apo_core.plan.engine_memory import cached_rows, plan_log_ratios, plan_sampling, vllm_engine
from apo_core.plan.items import peak_mib
from apo_core.plan.model_shape import ModelShape

# 1,024 MiB of weights in bfloat16, 1 KiB of cache per token.
MODEL = ModelShape(
    parameters=2**29,
    layer_weights=2**29,
    head_weights=2**20,
    largest=2**20,
    layers=2,
    hidden=64,
    attention=64,
    cached=512,
    vocabulary=1024,
)
GPU = {"device_mib": 10_000.0, "share": 0.6, "gpus": 1, "on_gpus": True}


def test_an_engine_takes_its_share():
    engine = vllm_engine(MODEL, "bfloat16", cache_gib=None, **GPU)
    assert engine.device_mib == 6_000
    assert engine.cache_mib == 6_000 - 1_024 - 1_500 - 2_048  # weights, the process, a batch of prompts
    assert cached_rows(MODEL, "bfloat16", engine, 1024, 1) == 1_428  # a MiB each


def test_an_engine_whose_cache_is_set_takes_that_and_its_weights():
    engine = vllm_engine(MODEL, "bfloat16", cache_gib=2.0, **{**GPU, "on_gpus": False})
    assert (engine.device_mib, engine.cache_mib) == (1_024 + 2_048 + 1_500, 2_048)


def test_an_engine_over_two_gpus_has_half_the_weights_on_each():
    on_one, on_two = (
        vllm_engine(MODEL, "bfloat16", cache_gib=None, **{**GPU, "gpus": gpus}) for gpus in (1, 2)
    )
    assert on_two.cache_mib == on_one.cache_mib + 512
    assert cached_rows(MODEL, "bfloat16", on_two, 1024, 2) == int(on_two.cache_mib * 2)


def test_a_share_without_room_holds_no_row():
    engine = vllm_engine(MODEL, "bfloat16", cache_gib=None, **{**GPU, "device_mib": 5_000.0})
    assert cached_rows(MODEL, "bfloat16", engine, 1024, 1) == 0


def test_sampling_by_transformers():
    items = plan_sampling(
        MODEL,
        "bfloat16",
        engine=None,
        rows=8,
        row_tokens=1024,
        on_gpus=False,
        workers=1,
        packed=True,
    )
    # The process, the weights twice, 8 rows of a MiB, and 8 x 1,024 logits of 10 bytes.
    assert peak_mib(items) == pytest.approx(700 + 2 * 1_024 + 8 + 8 * 1024 * 10 / 2**20)


def test_the_kl_holds_two_models():
    items = plan_log_ratios(MODEL, "bfloat16", micro_batch_tokens=1024, chunk_tokens=256, on_gpus=True)
    states = 1024 * (8 * 64 + 4 * 64) * 2 / 2**20
    assert peak_mib(items) == pytest.approx(600 + 2 * 1_024 + states + 256 * 1024 * 8 / 2**20)
