"""How a verifier failed on a row: the exception, and the line of a user's file that raised it."""

from __future__ import annotations

import traceback
from pathlib import Path

from apo_core.verifiers.base import Attempt, Verdict, Verifier, shortened

REASON = 200  # characters


def scored_or_error(verifier: Verifier, attempt: Attempt) -> Verdict:
    """Score one completion with a verifier that reads no row; any exception becomes an error row."""
    try:
        return verifier.score(attempt.completion, attempt.answer, {})
    except Exception as error:  # noqa: BLE001 - no response may end the stage
        return error_row(error, verifier)


def error_row(error: BaseException, verifier: Verifier) -> Verdict:
    """Make the verdict on a completion on which the verifier raised: no reward."""
    return Verdict(None, None, f"error: {described(error, verifier)}")


def described(error: BaseException, verifier: Verifier) -> str:
    """Describe an exception that a verifier raised in one line."""
    # Not str(error), which fails if a user's exception overrides it badly.
    text = traceback.format_exception_only(error)[-1].strip()
    return shortened(f"{text}{_line_of(error, getattr(verifier, 'directory', None))}", REASON)


def _line_of(error: BaseException, directory: Path | None) -> str:
    """File and line of a user's own verifier that raised or called what raised; else empty."""
    frames = traceback.extract_tb(error.__traceback__)
    files = [Path(frame.filename) for frame in frames]
    for file, frame in zip(reversed(files), reversed(frames), strict=True):
        if directory is not None and file.is_relative_to(directory):
            return f" ({file.relative_to(directory)}:{frame.lineno})"
    return ""
