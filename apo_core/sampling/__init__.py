"""Samplers: engines that draw responses from a policy, behind one protocol."""

from apo_core.sampling.base import Response, Sampler
from apo_core.sampling.transformers_sampler import TransformersSampler

__all__ = ["Response", "Sampler", "TransformersSampler"]
