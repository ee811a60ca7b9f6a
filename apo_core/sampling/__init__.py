"""Samplers: engines that sample responses from a policy, behind one protocol."""

from apo_core.sampling.base import Response, Sampler
from apo_core.sampling.transformers_sampler import TransformersSampler
from apo_core.sampling.vllm_sampler import VllmSampler

__all__ = ["Response", "Sampler", "TransformersSampler", "VllmSampler"]
