"""The errors a user can act on. Everything else is a bug and keeps its traceback.

ApoError                      one clear line, exit status 2
|-- InputError                bad input: file, row, field, what was expected and found
|-- FingerprintMismatch       a table was made under other conditions
|-- DiskFull                  too little free space for what is about to be written
|-- PolicyCollapse            the guard or a value that is not finite stopped the training
|-- VerifierFailed            the verifier failed on more rows than allowed
|-- StageRefused              a stage refused its input: no retry
|-- AuditBroken               `decisions.audit_chain`: the log is not what was written
`-- DecisionRefused           `decisions.approval_rule`: the rules do not allow a decision
StageFailed (RuntimeError)    a stage crashed or a server is away: a retry may help
"""

from __future__ import annotations

from pathlib import Path


class ApoError(Exception):
    """Something the user can mend; its text is one clear line."""


class InputError(ApoError):
    """Bad input, named by file, row and field: `train.jsonl:17: answer: ...`."""

    def __init__(
        self, file: Path | str, problem: str, *, row: int | None = None, field: str | None = None
    ) -> None:
        location = str(file) if row is None else f"{file}:{row}"
        super().__init__(": ".join(part for part in (location, field, problem) if part))


class FingerprintMismatch(ApoError):
    """A table was made under other conditions than those it is about to be used for."""


class DiskFull(ApoError):
    """There is too little free space for what is about to be written."""


class PolicyCollapse(ApoError):
    """Training was stopped because the policy degenerated; the last good checkpoint is kept."""


class VerifierFailed(ApoError):
    """A verifier failed on more rows than the configuration allows."""


class StageRefused(ApoError):
    """A stage refused its input: running it again cannot help."""


class StageFailed(RuntimeError):
    """A stage crashed or was killed, or DVC was busy: running it again may help."""


def error_in_words(error: OSError) -> str:
    """The file and the reason."""
    first = error.args[0] if error.args else ""
    if isinstance(first, list) and first:  # shutil.Error: source, target and reason of every file
        return f"{first[0][0]}: {first[0][-1]}"
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)
