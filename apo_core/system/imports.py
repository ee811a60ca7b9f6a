"""Importing large libraries in less time, and without what they bring along for others."""

from __future__ import annotations

import gc
import sys
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


@contextmanager
def hidden(package: str) -> Iterator[None]:
    """Imports of a package fail in this block: for a library that would use it if it were there.

    Nothing is hidden that was imported before.
    """
    absent = package not in sys.modules
    if absent:
        sys.modules[package] = None  # type: ignore[assignment]  # an entry of None makes the import fail
    try:
        yield
    finally:
        if absent:
            del sys.modules[package]
