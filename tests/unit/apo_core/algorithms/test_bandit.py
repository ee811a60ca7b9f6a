"""Every algorithm, through its interface, on a problem of known optimum: two tokens, a vocabulary of 3."""

from functools import cache

import pytest
import torch
from builders import micro_batch

from apo_core.algorithms import Apo, Grpo, Oapl, Ppo, Rebel

BETA = 0.3
ROWS = 2048
TOLERANCE = 0.01


class Tabular(torch.nn.Module):
    """A tabular policy over the nine responses, with critic values at the start and after the first token."""

    def __init__(self, first, second):
        super().__init__()
        self.first = torch.nn.Parameter(first.clone())  # (3,)
        self.second = torch.nn.Parameter(second.clone())  # (3, 3)
        self.start = torch.nn.Parameter(torch.zeros(()))
        self.after = torch.nn.Parameter(torch.zeros(3))

    def forward(self, responses):
        """Log-probs (R, 2) of responses (R, 2)."""
        first_token, second_token = responses.unbind(1)
        return torch.stack(
            [self.first.log_softmax(-1)[first_token], self.second.log_softmax(-1)[first_token, second_token]],
            1,
        )

    def values(self, responses):
        """Critic values (R, 2) before each token."""
        return torch.stack([self.start.expand(len(responses)), self.after[responses[:, 0]]], 1)

    @torch.no_grad()
    def distribution(self):
        """Probabilities (3, 3) of the responses."""
        return self.first.softmax(-1)[:, None] * self.second.softmax(-1)


@cache
def problem():
    generator = torch.Generator().manual_seed(4)
    reference = Tabular(torch.randn(3, generator=generator), torch.randn(3, 3, generator=generator))
    return reference.requires_grad_(False), torch.rand(3, 3, generator=generator)


def tilted(distribution, rewards, beta=BETA):
    """The policy that maximises E[r] - beta KL(pi || distribution), and the maximum."""
    weights = distribution * (rewards / beta).exp()
    return weights / weights.sum(), beta * weights.sum().log()


def reversed_optimum(reference, rewards):
    """The policy that maximises E[r] - beta KL(reference || pi) per token, whose gradient GRPO's penalty has.

    pi(a) (Q(a) - mean) = beta (pi(a) - ref(a)), so that pi = beta ref / (level - Q), with the level at which
    the sum is 1, and the mean of Q is the level less beta.
    """

    def solve(q, weights):
        low, high = q.max(), q.max() + BETA
        for _ in range(60):
            level = (low + high) / 2
            low, high = (level, high) if (BETA * weights / (level - q)).sum() > 1 else (low, level)
        return BETA * weights / (level - q), level - BETA

    first, second = reference.first.softmax(-1), reference.second.softmax(-1)
    solved = [solve(rewards[token].double(), second[token].double()) for token in range(3)]
    first_policy, _ = solve(torch.stack([mean for _, mean in solved]), first.double())
    return (first_policy[:, None] * torch.stack([row for row, _ in solved])).float()


def train(algorithm, *, steps=300, decay=0.01):
    """Train as the trainer does; where an algorithm takes one response per prompt, each row is a prompt."""
    reference, table = problem()
    policy = Tabular(reference.first, reference.second)
    lagging = Tabular(reference.first, reference.second)
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, decay ** (1 / steps))
    generator = torch.Generator().manual_seed(0)
    best = tilted(reference.distribution(), table)[1]
    for step in range(steps):
        if algorithm.sync_every is not None and step % algorithm.sync_every == 0:
            lagging.load_state_dict(policy.state_dict())
        drawing = policy if algorithm.sync_every is None else lagging
        flat = drawing.distribution().flatten().multinomial(ROWS, replacement=True, generator=generator)
        responses = torch.stack([flat // 3, flat % 3], 1)
        held = lagging if algorithm.sync_every is not None else reference
        batches = [
            batch_of(policy, held, responses, list(rows), algorithm.needs_reference)
            for rows in torch.arange(ROWS).view(algorithm.minibatches, -1).tolist()
        ]
        targets = algorithm.targets(
            table.flatten()[flat].view(-1, algorithm.responses),
            best.expand(ROWS // algorithm.responses),
            batches,
            lambda own: own,
        )
        for index, batch in [*enumerate(batches)] * algorithm.epochs:
            batch.targets = {
                name: numbers[index] if isinstance(numbers, list) else numbers[batch.rows]
                for name, numbers in targets.items()
            }
            own = responses[batch.rows]
            loss, _ = algorithm.loss(batch, policy(own), policy.values(own))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    return policy.distribution()


@torch.no_grad()
def batch_of(policy, held, responses, rows, needs_reference):
    own = responses[rows]
    return micro_batch(
        torch.ones(len(own), 2).bool(),
        rows=rows,
        old_log_probs=policy(own),
        reference_log_probs=held(own) if needs_reference else None,
        old_values=policy.values(own),
        mean_length=2.0,
        max_new_tokens=2,
    )


def distance(policy, optimum):
    return (policy - optimum).abs().max().item()


def test_the_optima_are_apart_from_the_reference_and_from_each_other():
    reference, table = problem()
    start, optimum = reference.distribution(), tilted(reference.distribution(), table)[0]
    other = reversed_optimum(reference, table)
    assert other.sum().item() == pytest.approx(1)
    assert min(distance(start, optimum), distance(start, other), distance(optimum, other)) > 5 * TOLERANCE


def ppo(**overrides):
    defaults = {
        "kl_coefficient": BETA,
        "clip": 0.2,
        "value_clip": 10.0,
        "value_coefficient": 1.0,
        "gamma": 1.0,
        "lam": 0.95,
        "whiten": False,
        "critic_rate": 0.1,
        "epochs": 1,
        "minibatches": 1,
    }
    return Ppo(**defaults | overrides)


@pytest.mark.parametrize(
    "algorithm",
    [
        Apo(beta2=BETA),
        ppo(),
        pytest.param(ppo(epochs=2, minibatches=2), marks=pytest.mark.slow),
        pytest.param(ppo(whiten=True), marks=pytest.mark.slow),
        Rebel(eta=1.0, kl_coefficient=BETA),
        pytest.param(Rebel(eta=1.0, kl_coefficient=BETA, epochs=2, minibatches=2), marks=pytest.mark.slow),
        Oapl(responses=ROWS, beta1=BETA, beta2=BETA, sync_every=10**9),
    ],
    ids=str,
)
def test_it_reaches_the_optimum_of_kl_regularised_rl(algorithm):
    reference, table = problem()
    optimum, _ = tilted(reference.distribution(), table)
    assert distance(train(algorithm), optimum) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize(("epochs", "minibatches"), [(1, 1), (2, 2)])
def test_grpo_reaches_the_optimum_with_the_reversed_kl(epochs, minibatches):
    algorithm = Grpo(
        responses=ROWS // 2,
        beta=BETA,
        clip_low=0.2,
        clip_high=0.2,
        scale="none",
        normalisation="response",
        epochs=epochs,
        minibatches=minibatches,
    )
    assert distance(train(algorithm), reversed_optimum(*problem())) < TOLERANCE


@pytest.mark.slow
def test_oapls_optimum_is_tilted_once_more_by_every_renewal_of_the_copy():
    reference, table = problem()
    once, _ = tilted(reference.distribution(), table)
    twice, _ = tilted(once, table)
    algorithm = Oapl(responses=ROWS, beta1=BETA, beta2=BETA, sync_every=200)
    assert distance(once, twice) > 5 * TOLERANCE
    assert distance(train(algorithm, steps=400, decay=0.03), twice) < TOLERANCE
