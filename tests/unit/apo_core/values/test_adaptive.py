import pytest
import torch

from apo_core.values.adaptive import sample_until_settled
from apo_core.values.pooled import Prior, pooled_value

PRIOR = Prior(1.0, 1.0)


def spend(rewards, *, deviation, first=2, limit=8):
    """Number of samples that each prompt uses of its rewards (P, limit)."""
    used = torch.full((len(rewards),), first)
    sums, counts = rewards[:, :first].sum(1), torch.full((len(rewards),), float(first)).double()

    def sample_rewards(positions, start, size):
        assert (used[positions] == start).all()
        used[positions] += size
        return rewards[positions, start : start + size].sum(1), torch.full((len(positions),), size).double()

    sample_until_settled(
        sums, counts, sample_rewards, prior=PRIOR, beta1=0.5, deviation=deviation, first=first, limit=limit
    )
    return used.tolist()


REWARDS = torch.tensor([[1, 1] * 4, [0, 1] * 4, [0, 0] * 4], dtype=torch.float64)


def test_a_prompt_is_left_alone_as_soon_as_its_value_is_known():
    expected = []
    for row in REWARDS:
        counts = range(2, 9, 2)
        deviations = [
            pooled_value(row[:n].sum()[None], torch.tensor([n]), PRIOR, 0.5)[1].item() for n in counts
        ]
        enough = [n for n, deviation in zip(counts, deviations, strict=True) if deviation <= 0.11]
        expected.append(enough[0] if enough else 8)
    assert spend(REWARDS, deviation=0.11) == expected
    assert len(set(expected)) > 1


def test_a_deviation_that_is_not_above_the_limit_is_enough():
    limit = pooled_value(torch.tensor([1.0]), torch.tensor([2.0]), PRIOR, 0.5)[1].item()
    assert spend(REWARDS[1:2], deviation=limit) == [2]
    assert spend(REWARDS[1:2], deviation=0.99 * limit) > [2]


def test_nothing_is_drawn_where_all_is_known_and_everything_where_nothing_is():
    assert spend(REWARDS, deviation=1.0) == [2, 2, 2]
    assert spend(REWARDS, deviation=1e-6) == [8, 8, 8]


def test_the_limit_is_kept_where_it_is_no_multiple():
    assert spend(REWARDS, deviation=1e-6, first=3, limit=8) == [8, 8, 8]
    assert spend(REWARDS, deviation=1e-6, first=8, limit=8) == [8, 8, 8]


@pytest.mark.parametrize("deviation", [0.05, 0.11, 0.2])
def test_a_prompts_share_does_not_depend_on_the_others(deviation):
    together = spend(REWARDS, deviation=deviation)
    assert together == [spend(row[None], deviation=deviation)[0] for row in REWARDS]


def test_samples_that_could_not_be_scored_do_not_count():
    requests = []

    def sample_rewards(positions, start, size):
        requests.append((positions, start, size))
        return torch.zeros(len(positions)).double(), torch.zeros(len(positions)).double()

    nothing = torch.zeros(1, dtype=torch.float64)
    sample_until_settled(
        nothing, nothing, sample_rewards, prior=PRIOR, beta1=0.5, deviation=0.2, first=2, limit=6
    )
    assert requests == [([0], 2, 2), ([0], 4, 2)]  # still unknown after four: only the limit ends it
