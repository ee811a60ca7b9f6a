"""Refusals of checkpoints whose weights are not, one by one, those of the model that is loaded."""

from __future__ import annotations

import re
from collections.abc import Iterable

from apo_core.errors import ApoError

# Constants that earlier versions of transformers and other programs stored beside the weights.
_CONSTANTS = re.compile(
    r"(^|\.)(inv_freq|original_inv_freq|masked_bias|position_ids|cos_cached|sin_cached|_float_tensor"
    r"|embed_positions\.weights|attn\.(attention\.)?bias|num_batches_tracked|version)$"
)
_NAMED = 5


def check_weights(*, missing: Iterable[str], unexpected: Iterable[str]) -> None:
    """Refuse weights that the checkpoint lacks, and weights that the model has no place for.

    transformers makes up the first and drops the second.

    Args:
        missing: names of the model without a weight; not those that share another's.
        unexpected: names of the checkpoint that are no part of the model.

    Raises:
        ApoError: names some of them.
    """
    if names := _listed(missing):
        raise ApoError(f"weights are missing: {names}")
    if names := _listed(name for name in unexpected if not _CONSTANTS.search(name)):
        raise ApoError(f"weights that the model has no place for: {names}")


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - _NAMED} more" if len(ordered) > _NAMED else ""
    return ", ".join(ordered[:_NAMED]) + more
