"""What each algorithm says of itself."""

import math

import pytest
import torch

from apo_core.algorithms import ALGORITHMS, make_algorithm
from apo_core.algorithms.base import Drawn, Micro, records, updates
from apo_core.config import DEFAULTS

METHODS = {name: make_algorithm(**settings) for name, settings in DEFAULTS.items()}


def test_there_are_these():
    assert list(ALGORITHMS) == ["apo", "grpo", "ppo", "rebel", "oapl"]


def test_apo_learns_once_from_one_response_without_recording_anything():
    apo = METHODS["apo"]
    assert (apo.responses, updates(apo), records(apo), apo.needs_behaviour) == (1, 1, False, False)
    assert make_algorithm("apo", beta2=0.1) == make_algorithm("apo", beta2=0.1, epochs=1, minibatches=1)
    assert not make_algorithm("apo", beta2=0.0).needs_reference


def test_what_is_recorded_is_what_an_update_would_change():
    assert {name: records(method) for name, method in METHODS.items()} == {
        "apo": False,
        "grpo": False,
        "ppo": True,
        "rebel": False,
        "oapl": False,
    }
    assert records(make_algorithm(**DEFAULTS["grpo"] | {"minibatches": 2}))


@pytest.mark.parametrize("name", METHODS)
def test_a_step_without_any_reward_is_a_finite_loss_of_0(name):
    """The trainer refuses it afterwards: until then nothing may be infinite."""
    method = METHODS[name]
    rows = 2 * method.responses
    numbers = torch.zeros(rows, 3)
    mask = torch.ones(rows, 3).bool()
    drawn = Drawn(
        torch.full((2, method.responses), math.nan), torch.zeros(2), mask, numbers, numbers, numbers
    )
    targets = method.targets(drawn, lambda own: own)
    assert all(target.isfinite().all() for target in targets.values())
    assert {len(target) for target in targets.values()} == {rows}
    log_probs = numbers.clone().requires_grad_()
    loss, parts = method.loss(
        Micro(
            log_probs=log_probs,
            mask=mask,
            scored=torch.zeros(rows).bool(),
            behaviour=numbers,
            reference=numbers,
            critic=numbers,
            targets=targets,
            mean_length=3.0,
            max_new_tokens=3,
        )
    )
    assert loss.item() == 0
    assert {len(part) for part in parts.values()} == {rows}
    assert {"loss", "kl"} <= set(parts)
    loss.backward()
    assert (log_probs.grad == 0).all()
