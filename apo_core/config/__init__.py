"""The configuration: frozen models that mirror `params.yaml`, refused by name where they do not fit.

Configuration stops at the boundary: stages unpack these models, and the mathematics takes flat arguments.
No key has a default: `params.yaml` is the whole truth, so that DVC sees every change that matters.
"""

from apo_core.config.algorithm import DEFAULTS, Algorithm
from apo_core.config.inputs import Arithmetic, Data, Reference, Scratch, Template
from apo_core.config.outcome import Evaluation, Pipeline, Promotion, Tracking
from apo_core.config.params import Params
from apo_core.config.sampling import Adaptive, Generation, Sampler, Sampling, Values, Vllm
from apo_core.config.training import Checkpoint, Guard, Train
from apo_core.config.verifier import Overlong, Verifier, Verifiers, When

__all__ = [
    "DEFAULTS",
    "Adaptive",
    "Algorithm",
    "Arithmetic",
    "Checkpoint",
    "Data",
    "Evaluation",
    "Generation",
    "Guard",
    "Overlong",
    "Params",
    "Pipeline",
    "Promotion",
    "Reference",
    "Sampler",
    "Sampling",
    "Scratch",
    "Template",
    "Tracking",
    "Train",
    "Values",
    "Verifier",
    "Verifiers",
    "Vllm",
    "When",
]
