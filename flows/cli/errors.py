"""Report the error of a service that does not answer as the one line that a command ends with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from apo_core.errors import ApoError, StageFailed


@contextmanager
def report_errors() -> Iterator[None]:
    """Turn an error that a flow would retry into one that a command reports and ends with.

    Raises:
        ApoError: the first line of a `StageFailed`.
    """
    try:
        yield
    except StageFailed as error:
        raise ApoError(str(error).splitlines()[0].rstrip(":")) from None
