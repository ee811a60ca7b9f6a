"""What stage `train` makes of its configuration and of the value table."""

from contextlib import nullcontext

import pytest

from apo_core.config.file import load_params
from apo_core.errors import PolicyCollapse
from tasks.stages.training_setup import make_guard


@pytest.mark.parametrize(("batch_size", "stops"), [(256, True), (2, False)])
def test_the_guard_asks_for_a_share_of_the_reward_where_there_are_enough_rewards(root, batch_size, stops):
    train = load_params(root / "presets/embedded.yaml").train  # half of it, over five steps
    train = train.model_copy(update={"batch_size": batch_size})
    guard = make_guard(train, expected_reward=(0.06, 0.08))
    step = {"step": 5.0, "kl": 0.0, "reward": 0.08, "response_length": 5.0}
    for _ in range(5):
        guard.observe(step)
    with pytest.raises(PolicyCollapse, match=r"0\.039 is below 0\.040") if stops else nullcontext():
        for _ in range(5):
            guard.observe(step | {"reward": 0.039})


@pytest.mark.parametrize(
    ("dtype", "configured", "limit"),
    [("float32", None, 1e-6), ("bfloat16", None, 0.01), ("bfloat16", 0.2, 0.2)],
)
def test_the_limit_of_the_sampler_is_the_configured_one_or_the_dtypes(root, dtype, configured, limit):
    train = load_params(root / "presets/embedded.yaml").train
    rules = train.guard.model_copy(update={"max_sampler_kl": configured})
    train = train.model_copy(update={"dtype": dtype, "guard": rules})
    assert make_guard(train, expected_reward=(0.06, 0.08)).max_sampler_kl == limit
