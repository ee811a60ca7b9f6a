"""Who is compared, and what is tried for each: the same number of trainings, of the same length in time.

A*-PO stands twice: by its published method, with one update a batch, and with what this library adds or
allows beside it. All begin with 256 responses an update, as the embedded task's default does. Settings of the
algorithm's own and sizes of batches are changed one after another, each on the best by then; learning rates
are tried on the best of all these.
"""

from __future__ import annotations

_RATE = "train.learning_rate=0.0001"
RATES = (5e-5, 2e-4, 4e-4)  # beside the one that all begin with

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
        ["algorithm.centre=true"],
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


def learns_from_values(settings: list[str]) -> bool:
    """Whether stage 1 is a part of what it takes."""
    return "algorithm=apo" in settings


def of_algorithm(settings: list[str]) -> list[str]:
    """Those that say which algorithm it is, and how that is set."""
    return [setting for setting in settings if setting.startswith(("algorithm=", "algorithm."))]


def in_force(settings: list[str]) -> list[str]:
    """Without those that a later one of the same key replaces."""
    last = {setting.partition("=")[0]: setting for setting in settings}
    return list(last.values())
