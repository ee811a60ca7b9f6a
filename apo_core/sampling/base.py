"""The interface of a sampling engine: prompts and keys in, responses out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

FinishReason = Literal["stop", "length"]
# A text per row, whose randomness is a function of it; a row whose key is None is greedy. None: all rows are.
Keys = Sequence[str | None] | None


class Response(NamedTuple):
    """One sampled response; the token ids are the truth and are never re-tokenised.

    Only vLLM keeps log-probs, and only for training, which compares them with the policy's. The transformers
    sampler is the module that trains: nothing could be out of step there.
    """

    token_ids: list[int]  # the end-of-sequence token included where it was sampled
    finish_reason: FinishReason
    log_probs: list[float] | None = None  # of each token, at the temperature it was sampled at


class Sampler(Protocol):
    """A sampler of responses to tokenised prompts."""

    def generate(
        self, prompts: list[list[int]], keys: Keys, *, max_new_tokens: int, temperature: float
    ) -> list[Response]:
        """Sample one response per prompt, in order; greedily where there is no key.

        Args:
            prompts: B token id lists.
            keys: of the B rows. A row's randomness is a function of its key alone, not of the batch it is in.
            max_new_tokens: the longest response.
            temperature: of the softmax; unused when greedy.
        """


def uniforms(keys: list[str], count: int) -> NDArray[np.float64]:
    """(B, count) numbers in [0, 1), one row per key: a counter-based generator seeded by the key's hash."""
    return np.stack([_row_generator(key).random(count) for key in keys])


def _row_generator(key: str) -> np.random.Generator:
    digest = hashlib.sha256(key.encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
