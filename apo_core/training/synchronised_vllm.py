"""vLLM as the sampler of the policy that trains: it gets the weights before every batch, and is tested."""

from __future__ import annotations

import math
from statistics import fmean
from typing import Any

import torch

from apo_core.errors import ApoError
from apo_core.sampling import Response
from apo_core.sampling.vllm_process import VllmProcess
from apo_core.training import ranks
from apo_core.training.policy_copy import gathered, whole_weights

# Nats per token that two engines may round log-probs apart, on average. They round bfloat16 logits, too.
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.05}


class SynchronisedVllm:
    """Samples with vLLM, which gets the policy's weights before every batch, and is then put to the test.

    Weights go through shared memory, from every rank to the engine beside it. A canary follows them: the
    log-probs that policy and vLLM give to the same few tokens. An engine that has not taken the weights over
    (some do not, and say nothing) would train on another policy's responses. An engine that begins with
    noise is proven by the first exchange; later ones differ by an update, which may be less than rounding.
    """

    def __init__(self, engine: Any, vllm: VllmProcess, canary: list[int]) -> None:
        """Begin with what `vllm` holds: nobody's weights, if the first exchange is to be tested too.

        Args:
            engine: DeepSpeed's, over `ResponseLogProbs`.
            vllm: an engine for the same architecture.
            canary: at least two tokens, the same on every rank.
        """
        self.engine = engine
        self.vllm = vllm
        self.canary = canary

    def generate(
        self, prompts: list[list[int]], keys: list[str] | None, *, max_new_tokens: int, temperature: float
    ) -> list[Response]:
        """See `Sampler`.

        Raises:
            ApoError: vLLM's log-probs are not the policy's.
        """
        self.synchronise()
        return self.vllm.generate(prompts, keys, max_new_tokens=max_new_tokens, temperature=temperature)

    def synchronise(self) -> None:
        """Give vLLM the policy's weights and compare the two; every rank at the same time."""
        with gathered(self.engine):
            policy = self.engine.module.model
            expected = log_probs(policy, self.canary)
            self.vllm.load_weights(whole_weights(policy))
        difference = _difference(expected, self.vllm.log_probs(self.canary))
        worst = max(ranks.gather([difference]))  # all ranks stop, or none
        if worst > _TOLERANCE[policy.dtype]:
            raise ApoError(
                f"train.sampler: vLLM's log-probs are {worst:.2g} nats per token from the policy's: it has "
                "not taken the weights over; train with train.sampler.engine=transformers"
            )


def _difference(policy: list[float], vllm: list[float]) -> float:
    """The mean distance, infinite where a number is not finite."""
    mean = fmean(abs(ours - theirs) for ours, theirs in zip(policy, vllm, strict=True))
    return mean if math.isfinite(mean) else math.inf


def log_probs(policy: Any, token_ids: list[int]) -> list[float]:
    """What `VllmSampler.log_probs` computes, by the model itself."""
    ids = torch.tensor([token_ids], device=policy.device)  # (1, T)
    with torch.no_grad():
        logits = policy(input_ids=ids, use_cache=False).logits.float()  # (1, T, V)
    chosen = logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])  # (1, T - 1, 1)
    numbers: list[float] = chosen.flatten().tolist()
    return numbers
