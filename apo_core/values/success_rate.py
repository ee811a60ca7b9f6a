"""The mean reward of the reference policy on each prompt, after its samples: expected value and tails.

A prompt whose samples were lucky is more likely to be kept, so its own mean is too high where it is used
again: as a baseline, say. The posterior under a prior of all prompts is right whatever was selected by the
samples, and however many of them were asked for (empirical Bayes; B. Efron, JASA 106 (2011), 1602-1614).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc

from apo_core.values.pooled import Prior

Floats = NDArray[np.float64]


def expected_reward(sums: Floats, counts: Floats, prior: Prior) -> Floats:
    """Compute the posterior mean of each prompt's mean reward.

    For rewards between 0 and 1 it is the linear estimate of least error, whatever their distribution
    (Buehlmann's credibility, ASTIN Bulletin 4 (1967), 199-207).

    Args:
        sums: (P,) sum of the prompt's rewards, each in [0, 1].
        counts: (P,) number of its scored samples; 0 leaves the prior as it is.
        prior: from `fit_prior`, of the rewards themselves.

    Returns:
        (P,), within [0, 1].
    """
    return (prior.alpha + sums) / (prior.alpha + prior.beta + counts)


def probability_above(rate: float, sums: Floats, counts: Floats, prior: Prior) -> Floats:
    """Compute the posterior probability that each prompt's mean reward is above `rate`.

    Arguments as of `expected_reward`; the result is (P,). Rewards between 0 and 1 vary less than the model
    assumes, so the probability is nearer to that of the prior than it might be.
    """
    below: Floats = betainc(prior.alpha + sums, prior.beta + counts - sums, rate)
    return 1 - below
