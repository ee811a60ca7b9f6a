"""Rows of like length together, so many that a forward pass fits: little padding, no row left alone."""

from __future__ import annotations


def micro_batches(lengths: list[int], *, max_tokens: int, at_least: int = 1) -> list[list[int]]:
    """Cut rows into micro-batches by a budget of tokens, padding included.

    Args:
        lengths: of B rows, in tokens.
        max_tokens: rows x longest row of a micro-batch; a row that is longer by itself is one of its own.
        at_least: how many micro-batches to make, at most B: ranks take part in each other's.

    Returns:
        Positions, every one once; the longest rows first, so that what does not fit fails at once.
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    cut: list[list[int]] = []
    for row in order:
        if cut and (len(cut[-1]) + 1) * lengths[cut[-1][0]] <= max_tokens:
            cut[-1].append(row)
        else:
            cut.append([row])
    while len(cut) < at_least:
        widest = max(cut, key=len)
        place, middle = cut.index(widest), len(widest) // 2
        cut[place : place + 1] = [widest[:middle], widest[middle:]]
    return cut
