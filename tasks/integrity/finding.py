"""What a look at a workspace's bytes found."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """Something that is not as it should be."""

    where: str
    """`workspace`, `cache`, `remote`, `training`, `databases`, `decisions` or `registry`."""
    problem: str
    mended: str = ""
    """What was done about it; empty where nothing was."""
    advice: str = ""
    """What a person can do, where nothing was done."""
