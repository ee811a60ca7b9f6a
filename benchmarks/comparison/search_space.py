"""The algorithms that are compared, and the trials of each: equally many, of equal length in time.

A*-PO is compared twice: as published, with one update per batch (`apo`), and with the options that this
library adds (`apo-options`). Every algorithm begins with 256 responses per update, like the embedded task's
default. The search is greedy: each change is tried on top of the best overrides so far; the learning rates
come last. An override is a `key=value` for params.yaml.
"""

from __future__ import annotations

_RATE = "train.learning_rate=0.0001"
RATES = (5e-5, 2e-4, 4e-4)  # tried in addition to `_RATE`

START = {
    "apo": ["algorithm=apo", "train.batch_size=256", _RATE],
    "apo-options": ["algorithm=apo", "train.batch_size=256", _RATE],
    "grpo": ["algorithm=grpo", "algorithm.responses=4", "train.batch_size=64", _RATE],
    "ppo": ["algorithm=ppo", "algorithm.epochs=2", "train.batch_size=256", _RATE],
    "rebel": ["algorithm=rebel", "train.batch_size=128", _RATE],
    "oapl": ["algorithm=oapl", "algorithm.responses=4", "train.batch_size=64", _RATE],
}

CHANGES = {
    "apo": [
        ["train.batch_size=128"],
        ["train.batch_size=64"],
        ["values.beta1=5.0"],
        ["values.beta1=0.25"],
        ["algorithm.beta2=0.01"],
        ["algorithm.beta2=0.0001"],
    ],
    "apo-options": [
        ["train.batch_size=128"],
        ["train.batch_size=64"],
        ["values.beta1=5.0"],
        ["values.beta1=1.0"],
        ["algorithm.beta2=0.0"],
        ["algorithm.minibatches=2"],
    ],
    "grpo": [
        ["train.batch_size=32"],
        ["train.batch_size=16"],
        ["algorithm.beta=0.0"],
        ["algorithm.scale=none"],
        ["algorithm.minibatches=2"],
        ["algorithm.responses=2"],
    ],
    "ppo": [
        ["train.batch_size=128"],
        ["train.batch_size=64"],
        ["algorithm.epochs=1"],
        ["algorithm.minibatches=2"],
        ["algorithm.critic_rate=30.0"],
        ["algorithm.kl_coefficient=0.0"],
    ],
    "rebel": [
        ["train.batch_size=64"],
        ["train.batch_size=32"],
        ["algorithm.kl_coefficient=0.0"],
        ["algorithm.epochs=2"],
        ["algorithm.minibatches=2"],
        ["algorithm.eta=0.25"],
    ],
    "oapl": [
        ["train.batch_size=32"],
        ["train.batch_size=16"],
        ["algorithm.beta1=0.1", "algorithm.beta2=0.1"],
        ["algorithm.sync_every=2"],
        ["algorithm.minibatches=2"],
        ["algorithm.responses=2"],
    ],
}


def uses_v_star(overrides: list[str]) -> bool:
    """Whether the algorithm learns from V*, so that stage 1 counts towards its time."""
    return "algorithm=apo" in overrides


def algorithm_overrides(overrides: list[str]) -> list[str]:
    """Overrides that choose and configure the algorithm."""
    return [override for override in overrides if override.startswith(("algorithm=", "algorithm."))]


def effective_overrides(overrides: list[str]) -> list[str]:
    """Overrides without those that a later one of the same key replaces."""
    last = {override.partition("=")[0]: override for override in overrides}
    return list(last.values())
