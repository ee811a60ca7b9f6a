"""Who is compared, and what is tried for each: the same number of trainings, of the same length in time.

Beside the algorithms as published, A*-PO with `algorithm.centre`.

All begin with 256 responses an update, as the embedded task's default does. First the learning rate is
looked for, then, at the best of them, four other settings of the algorithm's own; the best of all is taken.
"""

from __future__ import annotations

RATES = (5e-5, 1e-4, 2e-4, 4e-4)

START = {
    "apo": ["algorithm=apo", "train.batch_size=256"],
    "apo-centred": ["algorithm=apo", "algorithm.centre=true", "train.batch_size=256"],
    "grpo": ["algorithm=grpo", "algorithm.responses=4", "train.batch_size=64"],
    "ppo": ["algorithm=ppo", "algorithm.epochs=2", "train.batch_size=256"],
    "rebel": ["algorithm=rebel", "train.batch_size=128"],
    "oapl": ["algorithm=oapl", "algorithm.responses=4", "train.batch_size=64"],
}

_APO = [
    ["algorithm.beta2=0.01"],
    ["values.beta1=0.25"],
    ["train.batch_size=128"],
    ["train.batch_size=512"],
]
OTHERS = {
    "apo": _APO,
    "apo-centred": _APO,
    "grpo": [
        ["algorithm.responses=2", "train.batch_size=128"],
        ["algorithm.responses=8", "train.batch_size=32"],
        ["algorithm.beta=0.0"],
        ["algorithm.epochs=2"],
    ],
    "ppo": [
        ["algorithm.epochs=1"],
        ["algorithm.epochs=4"],
        ["algorithm.critic_rate=30.0"],
        ["train.batch_size=128"],
    ],
    "rebel": [
        ["algorithm.epochs=2"],
        ["algorithm.epochs=2", "algorithm.eta=0.25"],
        ["algorithm.kl_coefficient=0.01"],
        ["train.batch_size=64"],
    ],
    "oapl": [
        ["algorithm.sync_every=2"],
        ["algorithm.sync_every=32"],
        ["algorithm.beta1=0.2", "algorithm.beta2=0.2"],
        ["train.batch_size=128"],
    ],
}


def learns_from_values(name: str) -> bool:
    """Whether stage 1 is a part of what it takes."""
    return START[name][0] == "algorithm=apo"


def of_algorithm(settings: list[str]) -> list[str]:
    """Those that say which algorithm it is, and how that is set."""
    return [setting for setting in settings if setting.startswith(("algorithm=", "algorithm."))]
