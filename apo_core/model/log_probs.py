"""Log-probabilities of responses, from one piece of code for policy and reference alike."""

from __future__ import annotations

from torch import Tensor, nn
from transformers import PreTrainedModel

from apo_core.model.causality import is_causal
from apo_core.model.head import HeadLogProbs


class ResponseLogProbs(nn.Module):
    """A causal language model that answers with the log-probs of responses' tokens instead of logits.

    The vocabulary-wide logits exist for `chunk_tokens` response tokens at a time, in the forward and in the
    backward pass, and for no prompt token.
    """

    def __init__(
        self, model: PreTrainedModel, *, temperature: float, chunk_tokens: int | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.is_causal = is_causal(model)
        self.head = HeadLogProbs(
            model.get_output_embeddings(),
            temperature=temperature,
            chunk_tokens=chunk_tokens,
            shared=getattr(model.get_input_embeddings(), "of_head", None),
        )

    def forward(self, token_ids: Tensor, attended: Tensor, mask: Tensor) -> Tensor:
        """Log-probabilities of the responses' tokens at the sampling temperature: see `MicroBatch.inputs`.

        Args:
            token_ids: (B, T) long.
            attended: (B, T) bool; padding is on the right.
            mask: (B, T-1) bool, True at position t where token t + 1 is of the response; a row without any
                True yields zeros, which still back-propagate.

        Returns:
            (B, T-1) float32, 0 where the mask is False.
        """
        hidden = self.model.base_model(
            input_ids=token_ids,
            attention_mask=None if self.is_causal else attended.long(),
            use_cache=False,
        ).last_hidden_state  # (B, T, H)
        states = hidden[:, :-1][mask]  # (M, H), M response tokens in row order
        targets = token_ids[:, 1:][mask]  # (M,)
        log_probs = self.head(states, targets)  # (M,)
        # The zero keeps a path to the parameters where the mask is empty.
        zero = hidden[:, :1, 0].float() * 0.0  # (B, 1)
        return zero.expand(mask.shape).masked_scatter(mask, log_probs)
