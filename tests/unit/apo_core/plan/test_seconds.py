"""Seconds by hand, for a model of 200 weights and a device of a few thousand operations per second."""

import pytest

from apo_core.plan.hardware import Rates
from apo_core.plan.model_shape import ModelShape
from apo_core.plan.seconds import (
    Decoding,
    Lengths,
    Shares,
    Update,
    body_passes,
    decode_seconds,
    decoding_waves,
    gather_seconds,
    head_flop,
    head_passes,
    lengths_of,
    optimizer_seconds,
    pass_flop,
    prefill_seconds,
    reduce_seconds,
    token_seconds,
    update_seconds,
)

MODEL = ModelShape(
    parameters=200,
    layer_weights=100,
    head_weights=50,
    largest=50,
    layers=2,
    hidden=8,
    attention=8,
    cached=16,
    vocabulary=6,
)
RATES = Rates(float32=10_000.0, bfloat16=20_000.0, bandwidth=1_000.0)
SHARES = Shares(passes=0.5, decoding=0.5, layer_seconds=0.25, engine_seconds=3.0, overlapped=True)
UPDATE = Update(
    rows=2,
    prompt_tokens=4,
    response_tokens=6,
    padding=1.0,
    epochs=1,
    checkpointing=False,
    lora=False,
    critic=False,
    reference=False,
    recorded=False,
)


def changed(**fields):
    return Update(**{**UPDATE.__dict__, **fields})


def test_operations_of_a_pass():
    # Per token 2 x 100 weights, and 4 x 2 layers x 8 x half of 10 tokens.
    assert pass_flop(MODEL, 3, 10) == 3 * (200 + 320)
    assert head_flop(MODEL, 3) == 3 * 100


@pytest.mark.parametrize(
    ("fields", "body", "head"),
    [
        ({}, 3, 4),
        ({"checkpointing": True}, 4, 4),
        ({"checkpointing": True, "reference": True}, 5, 5),  # A*-PO
        ({"lora": True, "reference": True}, 3, 4),
        ({"epochs": 4, "recorded": True, "reference": True}, 14, 18),
        ({"epochs": 4, "recorded": True, "reference": True, "critic": True}, 27, 18),  # PPO
        ({"epochs": 0, "recorded": True, "reference": True}, 2, 2),  # the KL of an evaluation
    ],
)
def test_passes_of_a_step(fields, body, head):
    update = changed(**fields)
    assert (body_passes(update), head_passes(update)) == (body, head)


def test_an_update_by_hand():
    # 2 rows of 10 tokens: 3 passes of 20 x (200 + 4 x 2 x 8 x 5) operations, 4 of 12 tokens x 100.
    flop = 3 * 20 * 520 + 4 * 12 * 100
    assert update_seconds(MODEL, UPDATE, RATES, "float32", SHARES) == pytest.approx(flop / 5_000)
    padded = update_seconds(MODEL, changed(padding=1.5), RATES, "float32", SHARES)
    assert padded == pytest.approx((1.5 * 3 * 20 * 520 + 4 * 12 * 100) / 5_000)


def test_an_optimizer_step_is_traffic():
    assert optimizer_seconds(100, RATES) == pytest.approx(4.2)


def test_prompts_are_read_once():
    flop = 2 * 4 * (200 + 4 * 2 * 8 * 2) + 2 * 100
    assert prefill_seconds(MODEL, 2, 4, RATES, "bfloat16", SHARES) == pytest.approx(flop / 10_000)


def test_a_token_is_bound_by_what_is_read():
    # 150 weights and the cache of 2 rows of 10 tokens, 16 numbers each, in float32: 1,880 bytes.
    assert token_seconds(MODEL, 2, 10, RATES, "float32", SHARES, vllm=False) == pytest.approx(1.88)
    assert token_seconds(MODEL, 2, 10, RATES, "float32", SHARES, vllm=True) == pytest.approx(4.88)


def test_a_token_of_many_rows_is_bound_by_arithmetic():
    fast = Rates(float32=10_000.0, bfloat16=20_000.0, bandwidth=1e9)
    flop = 50 * (200 + 4 * 2 * 8 * 10) + 50 * 100
    assert token_seconds(MODEL, 50, 10, fast, "float32", SHARES, vllm=False) == pytest.approx(flop / 5_000)


def test_python_is_hidden_where_it_runs_ahead():
    fast = Rates(float32=1e12, bfloat16=1e12, bandwidth=1e12)
    waiting = Shares(passes=0.5, decoding=0.5, layer_seconds=0.25, engine_seconds=3.0, overlapped=False)
    assert token_seconds(MODEL, 2, 10, fast, "float32", SHARES, vllm=False) == pytest.approx(0.5)
    read, multiplied = 1.88, (2 * (200 + 640) + 200) / 5_000
    seconds = token_seconds(MODEL, 2, 10, RATES, "float32", waiting, vllm=False)
    assert seconds == pytest.approx(read + multiplied + 0.5)  # a processor does one after the other


@pytest.mark.parametrize(
    ("mean", "limit", "expected"), [(512, 1024, (0, 1024)), (768, 1024, (512, 1024)), (100, 1024, (0, 200))]
)
def test_lengths_lie_around_their_mean(mean, limit, expected):
    lengths = lengths_of(mean, limit)
    assert (lengths.shortest, lengths.longest) == expected


def test_the_mean_position_of_a_token():
    assert lengths_of(64, 64).mean_position == 32  # all rows have 64
    assert lengths_of(6, 12).mean_position == pytest.approx(12 / 3)  # longer rows have more tokens


def decoding(*, rows, slots, vllm, lengths=None):
    return Decoding(rows=rows, slots=slots, prompt_tokens=4, lengths=lengths or Lengths(5, 10), vllm=vllm)


def test_a_batch_ends_with_its_longest_row():
    # Two batches of 2: the longer of two rows between 0 and 10 is expected to be 20/3.
    ((steps, rows),) = decoding_waves(decoding(rows=4, slots=2, vllm=False))
    assert (steps, rows) == (pytest.approx(40 / 3), pytest.approx(1.5))


def test_a_row_that_ends_makes_room():
    full, end = decoding_waves(decoding(rows=4, slots=2, vllm=True))
    assert full == (5, 2)
    assert end == (pytest.approx(20 / 3), pytest.approx(1.5))


@pytest.mark.parametrize("vllm", [True, False])
@pytest.mark.parametrize(("rows", "slots"), [(1, 1), (8, 8), (100, 8), (64, 256)])
def test_every_token_is_decoded(rows, slots, vllm):
    waves = decoding_waves(decoding(rows=rows, slots=slots, vllm=vllm))
    assert sum(steps * alive for steps, alive in waves) == pytest.approx(rows * 5)


def test_decoding_by_hand():
    same = Lengths(3, 3)
    batch = decoding(rows=2, slots=2, vllm=False, lengths=same)
    # Three tokens of both rows; on average 4 + 1.5 tokens were there before.
    traffic = (150 + 2 * 5.5 * 16) * 4
    assert decode_seconds(MODEL, batch, RATES, "float32", SHARES) == pytest.approx(3 * traffic / 1_000)


def test_rings():
    assert reduce_seconds(100, 2, 4, 50.0) == pytest.approx(2 * 100 * 2 * 0.75 / 50)
    assert gather_seconds(100, 2, 4, 50.0) == pytest.approx(100 * 2 * 0.75 / 50)
    assert reduce_seconds(100, 2, 1, 50.0) == 0
