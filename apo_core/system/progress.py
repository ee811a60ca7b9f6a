"""Progress bars: live on a terminal, a line every few seconds in a log."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm


def progress(*, total: int, description: str | None, unit: str, initial: int = 0) -> tqdm[Any]:
    """Make a bar on stderr to `update()`; silent without a description."""
    terminal = sys.stderr.isatty()
    return tqdm(
        total=total,
        initial=initial,
        desc=description,
        unit=f" {unit}",
        disable=description is None,
        mininterval=0.2 if terminal else 5.0,
        maxinterval=10.0,
        ncols=None if terminal else 90,
        ascii=None if terminal else "-#",
        dynamic_ncols=terminal,
        leave=True,
    )
