"""Where the audit log of a model lies: a directory, or a prefix on S3 that several machines share.

An entry is a file of its own, made only if there is none of its number: whoever makes it has won, whatever
another process wanted to write there.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import quote
from uuid import uuid4

from apo_core.decisions.approval_rule import Draft, State, state_of
from apo_core.decisions.audit_chain import AuditBroken, Entry, Head, check_chain, from_json, sealed, to_json
from apo_core.errors import ApoError
from tasks.tracking.runs import is_remote, tracking_uri
from tasks.workspace import Workspace

VARIABLE = "APO_AUDIT_URI"


class AuditStore(Protocol):
    """Files by name, which are made once and never changed."""

    def names(self, model: str) -> list[str]:
        """Of all files of a model, sorted."""
        ...

    def read(self, model: str, name: str) -> str:
        """A file's text."""
        ...

    def create(self, model: str, name: str, text: str) -> bool:
        """Make a file, whole or not at all; False where there is one already, with another text."""
        ...


class DirectoryStore:
    """Below a directory of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self, model: str) -> list[str]:
        """See `AuditStore`."""
        return sorted(file.name for file in self._of(model).glob("*.json"))

    def read(self, model: str, name: str) -> str:
        """See `AuditStore`."""
        return (self._of(model) / name).read_text(encoding="utf-8")

    def create(self, model: str, name: str, text: str) -> bool:
        """See `AuditStore`."""
        directory = self._of(model)
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=directory, prefix=".", encoding="utf-8") as whole:
            whole.write(text)
            whole.flush()
            os.fchmod(whole.fileno(), 0o444)  # others decide, too; nobody changes it
            os.fsync(whole.fileno())
            try:
                os.link(whole.name, directory / name)  # fails where the name is taken, unlike a rename
            except FileExistsError:
                return False
        _sync(directory)  # or the registry remembers what a power cut has taken away
        return True

    def _of(self, model: str) -> Path:
        return self.root / quote(model, safe=" ")


class ReadOnce:
    """Another store whose files are read once: they never change, and on S3 each costs a request."""

    def __init__(self, store: AuditStore) -> None:
        self._store = store
        self._texts: dict[tuple[str, str], str] = {}

    def names(self, model: str) -> list[str]:
        """See `AuditStore`; always asked anew."""
        return self._store.names(model)

    def read(self, model: str, name: str) -> str:
        """See `AuditStore`."""
        if (model, name) not in self._texts:
            self._texts[model, name] = self._store.read(model, name)
        return self._texts[model, name]

    def create(self, model: str, name: str, text: str) -> bool:
        """See `AuditStore`."""
        return self._store.create(model, name, text)


def once(store: AuditStore) -> ReadOnce:
    """A store for the length of one decision."""
    return store if isinstance(store, ReadOnce) else ReadOnce(store)


def open_store(workspace: Workspace) -> AuditStore:
    """The store of `APO_AUDIT_URI`, else the workspace's own.

    Raises:
        ApoError: the address is of no known form, or the registry is shared and the log would not be.
    """
    address = os.environ.get(VARIABLE, "")
    if address.startswith("s3://"):
        from tasks.decisions.log_on_s3 import S3Store  # a library that only those who use it pay for

        return S3Store(address)
    if "://" in address:
        raise ApoError(f"{VARIABLE}: {address!r} is no directory, nor of the form s3://bucket/prefix")
    if not address and is_remote(tracking_uri(workspace)):
        raise ApoError(
            f"MLFLOW_TRACKING_URI is a server, and {VARIABLE} is not set: who shares the registry shares the "
            "log of its decisions"
        )
    return DirectoryStore(workspace.root / address if address else workspace.state / "audit")


def read_log(store: AuditStore, model: str, head: Head | None = None) -> list[Entry]:
    """All entries, in order.

    Args:
        store: where they lie.
        model: whose they are.
        head: what the registry remembers of them.

    Raises:
        AuditBroken: they are not what was written.
    """
    names = store.names(model)
    entries = [from_json(store.read(model, name), f"{model}: {name}") for name in names]
    for entry, name in zip(entries, names, strict=True):
        if entry.model != model or name != _name(entry.sequence):
            raise AuditBroken(f"{model}: {name} holds entry {entry.sequence} of {entry.model}")
    if head is not None and not entries:
        raise AuditBroken(
            f"{model}: the registry remembers {head.sequence} decisions and there are none here; "
            f"is {VARIABLE} that of the others?"
        )
    try:
        check_chain(entries, head)
    except AuditBroken as error:
        raise AuditBroken(f"{model}: the log of its decisions: {error}") from None
    return entries


def append(
    store: AuditStore, model: str, propose: Callable[[State], Draft | None], *, now: datetime | None = None
) -> Entry | None:
    """Continue a log by what follows from where it stands; None where nothing does.

    Where another process was faster, the question is asked anew of what that one has written.

    Raises:
        DecisionRefused: by `propose`; nothing is written.
        AuditBroken: the log is not what was written: nothing may follow it.
    """
    nonce = uuid4().hex
    while True:
        entries = read_log(store, model)
        draft = propose(state_of(entries))
        if draft is None:
            return None
        time = now or datetime.now(UTC)
        entry = sealed(entries, model=model, time=time, nonce=nonce, **draft._asdict())
        if store.create(model, _name(entry.sequence), to_json(entry)):
            return entry


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _name(sequence: int) -> str:
    return f"{sequence:08}.json"
