import math

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from apo_core.sampling.base import uniforms
from apo_core.sampling.token_sampling import NO_TOKEN, most_likely_token, sample_token

VOCABULARIES = [1, 17, 128, 129, 49152, 50257]


def logits_of(size, *, seed=0):
    return 3 * torch.randn(1, size, generator=torch.Generator().manual_seed(seed))


def numbers(count, key="drawing"):
    return torch.from_numpy(uniforms([key], count)[0])


def inverse_cdf(logits, noise, temperature):
    """Inversion of the cumulative distribution in float64: the interval of each token, and the token."""
    cumulative = (logits.double() / temperature).softmax(-1).cumsum(-1)  # (1, V)
    return torch.searchsorted(cumulative[0] / cumulative[0, -1], noise, right=True)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("size", VOCABULARIES)
def test_it_inverts_the_cumulative_distribution(size, temperature):
    logits, noise = logits_of(size), numbers(400)
    tokens = sample_token(logits.expand(400, -1), noise, temperature)
    expected = inverse_cdf(logits, noise, temperature)
    # float32 probabilities move a boundary by about 1e-8: a number falls between seldom, and never far.
    assert (tokens == expected).double().mean() > 0.99
    assert (tokens - expected).abs().max() <= 1


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_a_large_vocabulary_is_drawn_from_as_often_as_the_softmax_says(temperature):
    count, size = 6000, 10_000
    logits = logits_of(size)
    tokens = torch.cat(
        [
            sample_token(logits.expand(500, -1), part, temperature)
            for part in numbers(count, "often").split(500)
        ]
    )

    def p_value(assumed):
        # In order of probability, in 200 groups of about equal probability: a chi-square test needs many of
        # every kind. The likeliest tokens fill a group alone, and leave some empty.
        shares, order = (logits[0].double() / assumed).softmax(-1).sort()
        group = torch.empty(size, dtype=torch.long)
        group[order] = (shares.cumsum(-1) * 200).long().clamp(max=199)
        expected = np.bincount(group[order], shares, minlength=200) * count
        filled = expected >= 5
        assert expected[filled].sum() == pytest.approx(count)
        return chisquare(np.bincount(group[tokens], minlength=200)[filled], expected[filled]).pvalue

    assert p_value(temperature) > 0.01
    assert p_value(temperature * 1.1) < 1e-6


@pytest.mark.parametrize("size", [5, 300, 50257])
def test_a_token_without_probability_is_never_drawn(size):
    logits = torch.full((1, size), -math.inf)
    logits[0, size // 2] = 0.0
    noise = torch.tensor([0.0, 1e-12, 0.5, 1 - 2**-53], dtype=torch.float64)
    assert sample_token(logits.expand(4, -1), noise, 1.0).tolist() == [size // 2] * 4


def test_a_number_on_the_edge_of_a_block_draws_no_token_without_probability():
    logits = torch.randn(500, 256, generator=torch.Generator().manual_seed(0))
    logits[:, 128:] -= 27  # so little that the sum of both blocks is rounded
    logits[:, 128] = -math.inf
    sums = logits.softmax(-1).unflatten(-1, (2, 128)).sum(-1).double()  # (500, 2), as they are added up
    tokens = sample_token(logits, sums[:, 0] / sums.sum(-1), 1.0)
    assert set(tokens.tolist()) <= {127, 129}


def test_the_tail_of_a_large_vocabulary_is_reached():
    # One token takes all but 1e-6; the rest of that is spread evenly over 150 000.
    size = 150_000
    logits = torch.full((1, size), math.log(1e-6 / size))
    logits[0, 0] = 0.0
    noise = 1 - torch.tensor([0.9e-6, 0.5e-6, 0.1e-6], dtype=torch.float64)
    shares = sample_token(logits.expand(3, -1), noise, 1.0).double() / size
    assert shares.tolist() == pytest.approx([0.1, 0.5, 0.9], abs=0.07)


def test_a_row_is_drawn_by_its_own_distribution_and_number():
    logits, noise = torch.cat([logits_of(49_152, seed=row) for row in range(6)]), numbers(6)
    whole = sample_token(logits, noise, 1.0)
    order = torch.tensor([4, 2, 0])
    assert torch.equal(sample_token(logits[order], noise[order], 1.0), whole[order])
    assert len(set(whole.tolist())) > 3


def test_bfloat16_logits_are_drawn_from_in_float32():
    logits = logits_of(49_152).bfloat16()
    noise = numbers(200)
    tokens = sample_token(logits.expand(200, -1), noise, 1.0)
    assert (tokens - inverse_cdf(logits, noise, 1.0)).abs().max() <= 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nothing_is_drawn_from_logits_that_are_not_finite(bad):
    logits = torch.zeros(3, 300)
    logits[1, 7] = bad
    noise = torch.full((3,), 0.5, dtype=torch.float64)
    for tokens in (sample_token(logits, noise, 1.0), most_likely_token(logits)):
        assert [token == NO_TOKEN for token in tokens.tolist()] == [False, True, False]
    logits[1, 7] = float("-inf")  # a token that is ruled out is no fault
    assert sample_token(logits, noise, 1.0).lt(300).all()
    assert most_likely_token(logits).lt(300).all()
