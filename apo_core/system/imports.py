"""Import large libraries faster, and without optional packages that they would import."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick_imports() -> Iterator[None]:
    """Suspend garbage collection while libraries are imported, and exempt the objects that they made.

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
    """Make imports of a package fail in this block, for a library that uses the package if it is installed.

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
