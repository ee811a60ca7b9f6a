"""Whether a model needs to be told of padding behind its tokens."""

from __future__ import annotations

from transformers import PreTrainedModel


def is_causal(model: PreTrainedModel) -> bool:
    """Whether every layer attends to a token and those before it, all of them or a window.

    Such a model needs no attention mask for rows that are padded on the right: padding comes after all that
    counts, so neither a token's state nor its gradient knows of it. And without a mask attention is plainly
    causal, which is what fused kernels are made for: torch's flash attention takes none on GPUs, and
    transformers makes no copies of the keys that query heads share (`use_gqa_in_sdpa` in
    transformers/integrations/sdpa_attention.py).

    Args:
        model: a language model or its body.
    """
    config = model.config.get_text_config(decoder=True)
    parts = [config, *model.modules()]
    return all(getattr(part, "is_causal", True) for part in parts)
