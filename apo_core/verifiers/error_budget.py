"""Error budget: how many rows a verifier may fail on before the stage stops."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from apo_core.errors import VerifierFailed

_NAMED = 3


class RowError(NamedTuple):
    """A row that the verifier failed on."""

    row: str  # prompt_id/sample_index
    reason: str


class ErrorBudget:
    """Counter of error rows, over the whole stage or a window of its last batches."""

    def __init__(self, max_share: float, *, rows: int, batches: int | None = None) -> None:
        """Start with no errors counted.

        Args:
            max_share: largest share of `rows` that may be errors, `verifier.max_error_share`.
            rows: number of rows that the stage scores, or that the window holds.
            batches: size of the window in batches; None counts all batches.
        """
        self.max_share = max_share
        self.rows = rows
        self._recent: deque[tuple[int, list[RowError]]] = deque(maxlen=batches)

    def remember(self, errors: int) -> None:
        """Count the errors of a batch that an earlier process scored; their reasons are not known."""
        self._recent.append((errors, []))

    def spend(self, errors: list[RowError]) -> None:
        """Count a batch's errors.

        Raises:
            VerifierFailed: more errors than the budget allows; names the first rows.
        """
        self._recent.append((len(errors), errors[:_NAMED]))
        count = sum(number for number, _ in self._recent)
        if count > self.max_share * self.rows:
            named = [error for _, first in self._recent for error in first][:_NAMED]
            rows = "; ".join(f"{error.row}: {error.reason.removeprefix('error: ')}" for error in named)
            more = f" and {count - len(named)} more" if count > len(named) else ""
            raise VerifierFailed(
                f"the verifier failed on {count} of {self.rows} rows, more than verifier.max_error_share "
                f"({self.max_share:g}) allows: {rows}{more}"
            )
