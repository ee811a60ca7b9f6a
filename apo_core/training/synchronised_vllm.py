"""vLLM as the sampler of the policy that trains: it gets the weights before every batch, and is tested."""

from __future__ import annotations

from typing import Any

from apo_core.sampling import Response
from apo_core.sampling.base import Keys
from apo_core.sampling.vllm_process import VllmProcess
from apo_core.training.canary import policy_log_probs, refuse_difference
from apo_core.training.policy_copy import gathered
from apo_core.training.weight_transfer import WeightTransfer


class SynchronisedVllm:
    """Samples with vLLM, which gets the policy's weights before every batch, and is then put to the test.

    Weights go from every rank to the engine beside it (`WeightTransfer`). A canary follows them: the
    log-probs that policy and vLLM give to the same few tokens. An engine that has not taken the weights over
    (some do not, and say nothing) would train on another policy's responses. An engine that begins with
    noise is proven by the first exchange; later ones differ by an update, which may be less than rounding.
    """

    def __init__(self, engine: Any, vllm: VllmProcess, canary: list[int]) -> None:
        """Begin with what `vllm` holds: nobody's weights, if the first exchange is to be tested too.

        Args:
            engine: DeepSpeed's, over `ResponseLogProbs`.
            vllm: an engine for the same architecture.
            canary: from `canary_tokens`, the same on every rank.
        """
        self.engine = engine
        self.vllm = vllm
        self.transfer = WeightTransfer(engine, vllm)
        self.canary = canary

    def generate(
        self, prompts: list[list[int]], keys: Keys, *, max_new_tokens: int, temperature: float
    ) -> list[Response]:
        """See `Sampler`.

        Raises:
            ApoError: vLLM's log-probs are not the policy's.
        """
        self.synchronise()
        responses = self.vllm.generate(prompts, keys, max_new_tokens=max_new_tokens, temperature=temperature)
        self.vllm.sleep()  # the GPU is the trainer's
        return responses

    def synchronise(self) -> None:
        """Give vLLM the policy's weights and compare the two; every rank at the same time."""
        policy = self.engine.module.model
        with gathered(self.engine):  # before vLLM wakes up: all weights are whole here
            expected = policy_log_probs(policy, self.canary)
        self.transfer.send()
        refuse_difference(expected, self.vllm.log_probs(self.canary), policy.dtype)
