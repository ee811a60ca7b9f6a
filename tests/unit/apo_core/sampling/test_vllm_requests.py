"""The seeds of rows."""

import numpy as np
from scipy.stats import kstest

from apo_core.sampling.vllm_requests import seed_of


def test_a_seed_is_the_beginning_of_the_keys_hash():
    # printf key | sha256sum: 2c70e12b7a0646f9..., read from its last byte, less the lowest bit.
    assert seed_of("key") == 0xF946067A2BE1702C >> 1


def test_seeds_fit_a_signed_integer_and_spread_over_it():
    seeds = [seed_of(f"sample/0/prompt/{row}") for row in range(2000)]
    assert len(set(seeds)) == 2000
    assert kstest(np.array(seeds, dtype=np.int64) / 2.0**63, "uniform").pvalue > 0.01
    # torch's generator on CPU keeps the lowest 32 bits.
    assert kstest(np.array([seed % 2**32 for seed in seeds]) / 2.0**32, "uniform").pvalue > 0.01
