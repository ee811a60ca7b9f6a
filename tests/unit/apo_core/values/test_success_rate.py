"""The posterior of a prompt's mean reward."""

import numpy as np
import pytest
from scipy import stats

from apo_core.values.pooled import Prior
from apo_core.values.success_rate import expected_reward, probability_above

SUMS, COUNTS = np.array([0.0, 2.0, 1.5, 0.0]), np.array([4, 4, 2, 0])


def test_the_expected_reward_lies_between_the_prompts_own_and_that_of_all():
    # Prior mean 1/4, as much as 4 samples: (1 + sum) / (4 + count).
    assert expected_reward(SUMS, COUNTS, Prior(1.0, 3.0)) == pytest.approx([1 / 8, 3 / 8, 2.5 / 6, 1 / 4])


@pytest.mark.parametrize("rate", [0.1, 0.9])
def test_the_probability_is_the_tail_of_the_posterior(rate):
    tails = stats.beta(1.0 + SUMS, 3.0 + COUNTS - SUMS).sf(rate)
    assert probability_above(rate, SUMS, COUNTS, Prior(1.0, 3.0)) == pytest.approx(tails)
