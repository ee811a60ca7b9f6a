"""The errors a user can act on. Everything else is a bug and keeps its traceback."""

from __future__ import annotations

from pathlib import Path


class ApoError(Exception):
    """Something the user can mend; its text is one clear line."""


class InputError(ApoError):
    """Bad input, named by file, row and field: `train.jsonl:17: answer: ...`."""

    def __init__(
        self, file: Path | str, problem: str, *, row: int | None = None, field: str | None = None
    ) -> None:
        place = str(file) if row is None else f"{file}:{row}"
        super().__init__(": ".join(part for part in (place, field, problem) if part))


class FingerprintMismatch(ApoError):
    """A table was made under other conditions than those it is about to be used for."""


class DiskFull(ApoError):
    """There is too little free space for what is about to be written."""


class PolicyCollapse(ApoError):
    """Training was stopped because the policy degenerated; the last good checkpoint is kept."""


class VerifierFailed(ApoError):
    """A verifier failed on more rows than the configuration allows."""
