"""LoRA: a policy that learns through small adapters, and is its own reference while they are off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import PreTrainedModel

from apo_core.model.acceleration import accelerate
from apo_core.model.log_probs import ResponseLogProbs

if TYPE_CHECKING:
    from peft import PeftModel


def add_adapters(policy: PreTrainedModel, *, rank: int, alpha: float, seed: int) -> PeftModel:
    """Put adapters beside every linear layer of the policy but its output embedding, and freeze the rest.

    The policy itself is changed: from now on it answers with its adapters, which begin as zero.

    Args:
        policy: any causal language model.
        rank: of the adapters.
        alpha: their weight is alpha / rank.
        seed: of the half of them that does not begin as zero.

    Returns:
        What switches them off and merges them.

    Source: LoRA (arXiv 2106.09685).
    """
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=0.0,  # policy and reference may differ by the adapters only
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    adapters = get_peft_model(policy, config)
    accelerate(policy)  # the adapters, too
    return adapters


class AdaptersOff:
    """The reference's log-probs, from the policy's own weights: no second copy is in memory."""

    def __init__(self, log_probs: ResponseLogProbs, adapters: PeftModel) -> None:
        self.log_probs = log_probs
        self.adapters = adapters

    def __call__(self, token_ids: Tensor, attended: Tensor, mask: Tensor) -> Tensor:
        """See `ResponseLogProbs`."""
        with self.adapters.disable_adapter():
            log_probs: Tensor = self.log_probs(token_ids, attended, mask)
        return log_probs


def merged(adapters: PeftModel) -> PreTrainedModel:
    """The policy as a plain float32 model with its adapters added to its weights; there are none afterwards.

    In bfloat16 the sum would lose what is small beside the weights, which is most of what adapters learn.

    Raises:
        ValueError: an adapter is not finite.
    """
    plain: PreTrainedModel = adapters.float().merge_and_unload(safe_merge=True)
    return plain
