"""Log-probabilities of responses, from one piece of code for policy and reference alike."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from apo_core.kernels.attention import quick_attention
from apo_core.kernels.linear import quick_linears
from apo_core.kernels.tied_embedding import share_gradient
from apo_core.model.head import CHUNK_TOKENS, HeadLogProbs


class Rollouts(NamedTuple):
    """Prompts with their responses, right-padded; True in a mask means the token counts."""

    token_ids: Tensor  # (B, T) long
    attended: Tensor  # (B, T) bool, prompt and response tokens
    response: Tensor  # (B, T) bool, response tokens, the end-of-sequence token included

    @property
    def predicts(self) -> Tensor:
        """(B, T-1) bool, positions whose next token is of the response."""
        return self.response[:, 1:]

    def to(self, device: torch.device) -> Rollouts:
        """The same on another device."""
        return Rollouts(*(tensor.to(device) for tensor in self))


def pad_rollouts(prompts: list[list[int]], responses: list[list[int]], pad_id: int) -> Rollouts:
    """Pad token id lists into one batch.

    Args:
        prompts: B lists.
        responses: B lists, end-of-sequence tokens included.
        pad_id: fills the right.
    """
    rows = [prompt + response for prompt, response in zip(prompts, responses, strict=True)]
    shape = (len(rows), max(map(len, rows)))
    token_ids = torch.full(shape, pad_id, dtype=torch.long)
    attended = torch.zeros(shape, dtype=torch.bool)
    response = torch.zeros(shape, dtype=torch.bool)
    for index, (row, prompt) in enumerate(zip(rows, prompts, strict=True)):
        token_ids[index, : len(row)] = torch.tensor(row)
        attended[index, : len(row)] = True
        response[index, len(prompt) : len(row)] = True
    return Rollouts(token_ids, attended, response)


class ResponseLogProbs(nn.Module):
    """A causal language model that answers with the log-probs of responses' tokens instead of logits.

    The vocabulary-wide logits exist for `chunk_tokens` response tokens at a time, in the forward and in the
    backward pass, and for no prompt token.
    """

    def __init__(
        self, model: PreTrainedModel, *, temperature: float, chunk_tokens: int = CHUNK_TOKENS
    ) -> None:
        super().__init__()
        quick_attention(model)
        quick_linears(model)
        self.model = model
        self.head = HeadLogProbs(
            model.get_output_embeddings(),
            temperature=temperature,
            chunk_tokens=chunk_tokens,
            shared=share_gradient(model),
        )

    def forward(self, token_ids: Tensor, attended: Tensor, response: Tensor) -> Tensor:
        """The response tokens' log-probabilities at the sampling temperature.

        Args:
            token_ids: (B, T) long.
            attended: (B, T) bool.
            response: (B, T) bool; a row without any True yields zeros, which still back-propagate.

        Returns:
            (B, T-1) float32: position t is of token t + 1, 0 where that is not of the response.
        """
        hidden = self.model.base_model(
            input_ids=token_ids, attention_mask=attended.long(), use_cache=False
        ).last_hidden_state  # (B, T, H)
        predicts = response[:, 1:]  # (B, T-1): position t predicts token t + 1
        states = hidden[:, :-1][predicts]  # (M, H), M response tokens in row order
        targets = token_ids[:, 1:][predicts]  # (M,)
        log_probs = self.head(states, targets)  # (M,)
        # The zero keeps a path to the parameters where the mask is empty.
        zero = hidden[:, :1, 0].float() * 0.0  # (B, 1)
        return zero.expand(predicts.shape).masked_scatter(predicts, log_probs)


@torch.no_grad()
def head_mismatch(model: PreTrainedModel) -> float:
    """How far the model's own logits are from output-embedding x last-hidden-state, on a few tokens.

    Some architectures scale or cap their logits after the head; `ResponseLogProbs` would be wrong for them.
    """
    token_ids = torch.arange(4, device=model.device)[None] % model.config.get_text_config().vocab_size
    own = model(input_ids=token_ids, use_cache=False).logits.float()
    hidden = model.base_model(input_ids=token_ids, use_cache=False).last_hidden_state
    ours = model.get_output_embeddings()(hidden).float()
    return float((own - ours).abs().max())
