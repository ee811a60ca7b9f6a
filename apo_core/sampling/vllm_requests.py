"""What vLLM is asked for a row, and what of its answer is kept."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from apo_core.sampling.base import Response

if TYPE_CHECKING:  # importing it takes ten seconds and is left to those who use it
    from vllm import RequestOutput, SamplingParams
    from vllm.outputs import CompletionOutput


def seed_of(key: str) -> int:
    """Compute the seed of a row's own generator: 63 bits of the key's hash."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little") >> 1


def sampling_params(
    key: str | None, eos_ids: set[int], *, max_new_tokens: int, temperature: float, keep_log_probs: bool
) -> SamplingParams:
    """Say how a response is to be sampled.

    Args:
        key: of the row, whose noise is a function of it; None: greedily.
        eos_ids: tokens that end the response.
        max_new_tokens: the longest response.
        temperature: of the softmax; unused when greedy.
        keep_log_probs: have a sampled response bring its tokens' log-probs.
    """
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        temperature=temperature if key is not None else 0.0,
        seed=None if key is None else seed_of(key),
        max_tokens=max_new_tokens,
        # Exactly these end a response, whatever the engine reads in the model's configuration.
        ignore_eos=True,
        stop_token_ids=sorted(eos_ids),
        detokenize=False,
        logprobs=0 if keep_log_probs and key is not None else None,  # of no token beside the sampled one
        flat_logprobs=True,  # lists of numbers instead of three objects for every token
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def to_response(output: RequestOutput) -> Response:
    """Take over the response of a finished row.

    Raises:
        RuntimeError: it ended by something else than its end or its limit.
    """
    (completion,) = output.outputs
    if completion.finish_reason not in ("stop", "length"):
        raise RuntimeError(f"vLLM ended a response by {completion.finish_reason}")
    token_ids = list(completion.token_ids)
    return Response(token_ids, completion.finish_reason, _log_probs(completion, token_ids))


def _log_probs(completion: CompletionOutput, token_ids: list[int]) -> list[float] | None:
    """Log-probs of a response's tokens, where it was asked for them."""
    from vllm.logprobs import FlatLogprobs

    kept = completion.logprobs
    if kept is None:
        return None
    if not isinstance(kept, FlatLogprobs) or kept.token_ids != token_ids:
        raise RuntimeError("vLLM's log-probs are not of the tokens that it sampled")
    return list(kept.logprobs)
