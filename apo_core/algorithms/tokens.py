"""Numbers of response tokens in padded rows: summed by row, and moved between paddings."""

from __future__ import annotations

from torch import Tensor


def sum_tokens(numbers: Tensor, mask: Tensor) -> Tensor:
    """Sum each row's numbers where the mask is True; whatever else is in the row does not matter.

    Args:
        numbers: (B, S)
        mask: (B, S) bool; a row without any True sums to 0, which still back-propagates.

    Returns:
        (B,)
    """
    rows = mask.nonzero()[:, 0]  # (M,)
    return numbers.new_zeros(len(numbers)).index_add(0, rows, numbers[mask])


def lay_out(numbers: Tensor, mask: Tensor, wanted: Tensor) -> Tensor:
    """Move each row's numbers from the places of one mask to those of another, in order.

    Args:
        numbers: (B, L)
        mask: (B, L) bool
        wanted: (B, S) bool, in each row True as often as `mask`.

    Returns:
        (B, S), 0 where `wanted` is False.
    """
    laid = numbers.new_zeros(wanted.shape)
    laid[wanted] = numbers[mask]
    return laid
