"""The audit log of a model: entries that each hold the hash of the one before.

Whoever changes, removes or inserts an entry breaks the chain from there on; that its end has been cut off is
seen by the head, which is kept elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, get_args

from apo_core.errors import ApoError

Event = Literal["candidate", "approved", "rejected", "expired", "rollback"]
START = "0" * 64  # what the first entry has for the hash of the one before


class AuditBroken(ApoError):
    """The log is not what was written: somebody has changed it."""


class Entry(NamedTuple):
    """Who decided what on which version of a model, when, why and on what evidence."""

    model: str
    sequence: int  # from 1
    time: str  # ISO 8601, UTC
    event: Event
    version: str
    by: str
    reason: str
    evidence: dict[str, Any]
    nonce: str  # tells two writers of the same words apart
    previous: str  # the hash of the entry before
    hash: str  # SHA-256 of all of the above


class Head(NamedTuple):
    """What is remembered of a log elsewhere: how long it was, and the hash of its last entry."""

    sequence: int
    hash: str


def sealed(
    before: Sequence[Entry],
    *,
    model: str,
    time: datetime,
    event: Event,
    version: str,
    by: str,
    reason: str,
    evidence: dict[str, Any],
    nonce: str,
) -> Entry:
    """The entry that continues a log."""
    entry = Entry(
        model,
        len(before) + 1,
        time.isoformat(),
        event,
        version,
        by,
        reason,
        evidence,
        nonce,
        before[-1].hash if before else START,
        "",
    )
    return entry._replace(hash=_hash(entry))


def head_of(entries: Sequence[Entry]) -> Head:
    """What to remember of a log that is not empty."""
    return Head(entries[-1].sequence, entries[-1].hash)


def check_chain(entries: Sequence[Entry], head: Head | None = None) -> None:
    """See that a log is the one that was written.

    Args:
        entries: the log, in order.
        head: remembered of it elsewhere, from now or before.

    Raises:
        AuditBroken: it is not; names the first entry that is wrong.
    """
    previous = START
    for number, entry in enumerate(entries, start=1):
        if entry.sequence != number:
            raise AuditBroken(f"entry {number} is missing: entry {entry.sequence} is in its place")
        if entry.previous != previous:
            raise AuditBroken(f"entry {number} does not continue the one before")
        if entry.hash != _hash(entry):
            raise AuditBroken(f"entry {number} has been changed: its hash is another")
        previous = entry.hash
    if head is None:
        return
    if head.sequence > len(entries):
        raise AuditBroken(
            f"entries {len(entries) + 1} to {head.sequence} are missing: the log has been cut off"
        )
    if entries[head.sequence - 1].hash != head.hash:
        raise AuditBroken(f"entry {head.sequence} is not the one that the registry remembers")


def to_json(entry: Entry) -> str:
    """An entry's one spelling, which is what is hashed, but for its hash."""
    return _canonical(entry._asdict())


def from_json(text: str, place: str) -> Entry:
    """Read an entry.

    Raises:
        AuditBroken: it is none; names its place.
    """
    try:
        fields = json.loads(text)
        entry = Entry(**fields)
        as_written = _canonical(fields) == text and type(entry.sequence) is int
    except (ValueError, TypeError):
        raise AuditBroken(f"{place}: is no entry of an audit log") from None
    if entry.event not in get_args(Event) or not as_written:
        raise AuditBroken(f"{place}: is no entry of an audit log as it was written")
    return entry


def _hash(entry: Entry) -> str:
    fields = entry._asdict()
    del fields["hash"]
    return hashlib.sha256(_canonical(fields).encode()).hexdigest()


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
