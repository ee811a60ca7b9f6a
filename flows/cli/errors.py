"""Errors of a service that does not answer, as the one line that the command line ends with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from apo_core.errors import ApoError, StageFailed


@contextmanager
def one_line() -> Iterator[None]:
    """What a flow would try again, a command says once.

    Raises:
        ApoError: its first line.
    """
    try:
        yield
    except StageFailed as error:
        raise ApoError(str(error).splitlines()[0].rstrip(":")) from None
