"""A critic beside the policy: the reward to be expected before each token of a response."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from apo_core.model.causality import is_causal
from apo_core.model.log_probs import ResponseLogProbs


class Critic(nn.Module):
    """A language model's body with one number per token; it begins with 0 everywhere."""

    def __init__(self, model: PreTrainedModel) -> None:
        """Take over a causal language model except its output embedding."""
        super().__init__()
        self.body = model.base_model
        self.is_causal = is_causal(model)
        weight = next(model.parameters())
        size = model.config.get_text_config().hidden_size
        self.head = nn.Linear(size, 1, device=weight.device, dtype=weight.dtype)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, token_ids: Tensor, attended: Tensor, mask: Tensor) -> Tensor:
        """The values expected before each token of the responses.

        Args:
            token_ids: (B, T) long.
            attended: (B, T) bool; padding is on the right.
            mask: (B, T-1) bool, True at position t where token t + 1 is of the response.

        Returns:
            (B, T-1) float32: position t is before token t + 1, 0 where the mask is False.
        """
        hidden = self.body(
            input_ids=token_ids,
            attention_mask=None if self.is_causal else attended.long(),
            use_cache=False,
        ).last_hidden_state  # (B, T, H)
        values = self.head(hidden[:, :-1])[..., 0].float()  # (B, T-1)
        return torch.where(mask, values, 0.0)


class PolicyAndCritic(nn.Module):
    """Both in one module, so that one engine trains, shares and saves them."""

    def __init__(self, policy: ResponseLogProbs, critic: Critic) -> None:
        super().__init__()
        self.policy = policy
        self.critic = critic

    @property
    def model(self) -> PreTrainedModel:
        """The policy."""
        return self.policy.model

    def forward(self, token_ids: Tensor, attended: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probs and values, (B, T-1) each; see `ResponseLogProbs` and `Critic`."""
        return self.policy(token_ids, attended, mask), self.critic(token_ids, attended, mask)
