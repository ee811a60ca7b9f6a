"""The one call that gives a model the kernels of this folder."""

from __future__ import annotations

from transformers import PreTrainedModel

from apo_core.kernels.attention import quick_attention
from apo_core.kernels.decoding import DecodingKernels
from apo_core.kernels.linear import quick_linears
from apo_core.kernels.tied_embedding import share_gradient


def install(model: PreTrainedModel) -> None:
    """Let a model compute with the kernels from now on; what they do not suit stays as it is.

    Weights, names and hooks of its layers stay. Once more for layers that were added since: it does no harm.
    """
    quick_attention(model)
    quick_linears(model)
    share_gradient(model)
    model.decoding_kernels = DecodingKernels()
