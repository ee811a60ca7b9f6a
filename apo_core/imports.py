"""Importing large libraries in two thirds of the time."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick_imports() -> Iterator[None]:
    """No garbage is looked for while libraries are imported in this block, nor later among what they made.

    torch and transformers make a million objects that stay; Python would search them for garbage hundreds of
    times, which is a third of the time that they take.
    """
    searching = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if searching:
            gc.enable()
