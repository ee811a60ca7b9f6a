"""The hash chain that makes a log of decisions tamper-evident: every entry holds the hash of the one before.

An entry that is changed, removed or inserted breaks the chain from there on. That the end has been cut off
shows by the `Head`, which the registry keeps.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, NamedTuple, get_args

from apo_core.errors import ApoError

Event = Literal["compared", "candidate", "approved", "rejected", "expired", "rollback"]
START = "0" * 64  # `previous` of the first entry


class AuditBroken(ApoError):
    """The log is not what was written: somebody has changed it."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Who decided what on which version of a model, when, why and on what evidence."""

    model: str
    sequence: int  # from 1
    time: str  # ISO 8601, UTC
    event: Event
    version: str  # empty where a policy was compared that has none
    by: str
    reason: str
    evidence: dict[str, Any]
    nonce: str  # random: two processes that decide the same at once write different entries
    previous: str  # the hash of the entry before
    hash: str  # SHA-256 of all of the above, in hexadecimal


class Head(NamedTuple):
    """What the registry remembers of a log: how long it was, and the hash of its last entry."""

    sequence: int
    hash: str


def seal(
    log: Sequence[Entry],
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
    """Make the entry that continues a log."""
    entry = Entry(
        model=model,
        sequence=len(log) + 1,
        time=time.isoformat(),
        event=event,
        version=version,
        by=by,
        reason=reason,
        evidence=evidence,
        nonce=nonce,
        previous=log[-1].hash if log else START,
        hash="",
    )
    return replace(entry, hash=_hash(entry))


def author_in_words(entry: Entry) -> str:
    """The person an entry names, and the account that wrote it, if it was written with one."""
    account = entry.evidence.get("account")
    return entry.by if account is None else f"{entry.by} (account {account})"


def head_of(entries: Sequence[Entry]) -> Head:
    """The head of a log that is not empty."""
    return Head(entries[-1].sequence, entries[-1].hash)


def check_chain(entries: Sequence[Entry], head: Head | None = None) -> None:
    """Verify that a log is what was written.

    Args:
        entries: the log, in order.
        head: the head of this log that the registry remembers, of now or of an earlier time.

    Raises:
        AuditBroken: the log was changed; names the first entry that is wrong.
    """
    previous = START
    for number, entry in enumerate(entries, start=1):
        if entry.sequence != number:
            raise AuditBroken(f"entry {number} is missing: entry {entry.sequence} was found instead")
        if entry.previous != previous:
            raise AuditBroken(f"entry {number} does not continue the one before: it holds another hash")
        if entry.hash != _hash(entry):
            raise AuditBroken(f"entry {number} has been changed: it does not match its hash")
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
    """Spell an entry as it is stored; its hash is that of this spelling without the field `hash`."""
    return _canonical(vars(entry))


def from_json(text: str, source: str) -> Entry:
    """Parse an entry.

    Raises:
        AuditBroken: the text is not an entry, or is spelled otherwise than `to_json` spells it; names the
            source.
    """
    try:
        fields = json.loads(text)
        entry = Entry(**fields)
        as_written = _canonical(fields) == text and type(entry.sequence) is int
    except (ValueError, TypeError):
        raise AuditBroken(f"{source}: is no entry of an audit log") from None
    if as_written and entry.event not in get_args(Event):
        raise AuditBroken(
            f"{source}: its event {entry.event!r} is unknown: a newer version of apo-flow wrote it, or nobody"
        )
    if not as_written:
        raise AuditBroken(f"{source}: is no entry of an audit log as it was written")
    return entry


def _hash(entry: Entry) -> str:
    fields = {name: value for name, value in vars(entry).items() if name != "hash"}
    return hashlib.sha256(_canonical(fields).encode()).hexdigest()


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
