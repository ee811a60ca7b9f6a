"""The properties that each algorithm declares."""

import math

import pytest
import torch
from builders import micro_batch

from apo_core.algorithms import ALGORITHMS, make_algorithm
from apo_core.algorithms.base import records_policy, updates_per_step
from apo_core.config import DEFAULTS

METHODS = {name: make_algorithm(**arguments) for name, arguments in DEFAULTS.items()}


def test_there_are_these():
    assert list(ALGORITHMS) == ["apo", "grpo", "ppo", "rebel", "oapl"]


def test_apo_learns_once_from_one_response_without_recording_anything():
    apo = METHODS["apo"]
    assert (apo.responses, updates_per_step(apo)) == (1, 1)
    assert not records_policy(apo) and not apo.needs_old_log_probs
    assert make_algorithm("apo", beta2=0.1) == make_algorithm("apo", beta2=0.1, epochs=1, minibatches=1)
    assert not make_algorithm("apo", beta2=0.0).needs_reference


def test_what_is_recorded_is_what_an_update_would_change():
    assert {name: records_policy(method) for name, method in METHODS.items()} == {
        "apo": False,
        "grpo": False,
        "ppo": True,
        "rebel": False,
        "oapl": False,
    }
    assert records_policy(make_algorithm(**DEFAULTS["grpo"] | {"minibatches": 2}))


@pytest.mark.parametrize("name", METHODS)
def test_a_step_without_any_reward_is_a_finite_loss_of_0(name):
    """The trainer refuses it afterwards: until then nothing may be infinite."""
    method = METHODS[name]
    rows = 2 * method.responses
    numbers = torch.zeros(rows, 3)
    mask = torch.ones(rows, 3).bool()
    batch = micro_batch(
        mask,
        scored=torch.zeros(rows).bool(),
        old_log_probs=numbers,
        reference_log_probs=numbers,
        old_values=numbers,
        mean_length=3.0,
        max_new_tokens=3,
    )
    rewards = torch.full((2, method.responses), math.nan)
    targets = method.targets(rewards, torch.zeros(2), [batch], lambda own: own)
    batch.targets = {name: own[0] if isinstance(own, list) else own for name, own in targets.items()}
    assert all(target.isfinite().all() for target in batch.targets.values())
    assert {len(target) for target in batch.targets.values()} == {rows}
    log_probs = numbers.clone().requires_grad_()
    loss, parts = method.loss(batch, log_probs, numbers)
    assert loss.item() == 0
    assert {len(part) for part in parts.values()} == {rows}
    assert {"loss", "kl"} <= set(parts)
    loss.backward()
    assert (log_probs.grad == 0).all()
