"""What stage `train` makes of its configuration and of the value table."""

import pytest

from apo_core.config.file import load_params
from tasks.stages.training_setup import make_guard


@pytest.mark.parametrize(("batch_size", "least"), [(256, 0.04), (2, 0.0)])
def test_the_guard_asks_for_a_share_of_the_baseline_where_there_are_enough_rewards(root, batch_size, least):
    guard = load_params(root / "presets/embedded.yaml").train.guard  # half of it, over five steps
    assert make_guard(guard, baseline=0.08, batch_size=batch_size).min_reward == pytest.approx(least)
