"""The log of the decisions on a registered model, and the transaction by which it grows.

The log says what holds; the registry's aliases mirror it (`tasks.decisions.aliases`). An entry is a file of
its own, in a directory or below a prefix on S3 that several machines share, and is created only if there is
none of its number. Of two processes that decide at once, the one that creates the file has decided; the other
applies its rule again to the log with that entry in it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

from apo_core.decisions.approval_rule import Draft, State, state_of
from apo_core.decisions.audit_chain import AuditBroken, Entry, Head, check_chain, from_json, seal, to_json
from apo_core.errors import ApoError
from tasks.decisions.aliases import mark_as_asked, remembered_head, sync_aliases
from tasks.decisions.log_in_directory import DirectoryStore
from tasks.tracking.account import current_account
from tasks.tracking.registry import Registered, VersionSpec, resolve
from tasks.tracking.store import connect, is_remote, tracking_uri
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient

VARIABLE = "APO_AUDIT_URI"
Rule = Callable[[State], Draft | None]  # what to append to a log in that state; None for nothing


@dataclass(frozen=True)
class DecisionLog:
    """The log of one registered model, and the registry that follows it."""

    client: MlflowClient
    store: AuditStore
    model: str

    def read(self) -> list[Entry]:
        """Read all entries, and verify them against the head that the registry remembers.

        Raises:
            AuditBroken: the log is not what was written.
        """
        return read_log(self.store, self.model, remembered_head(self.client, self.model))

    def state(self) -> State:
        """Read what the log says; raises as `read` does."""
        return state_of(self.read())

    def account(self) -> str | None:
        """Ask the registry's server for this process's account there; see `current_account`."""
        return current_account(self.client.tracking_uri)

    def transact(self, *rules: Rule) -> tuple[list[Entry], list[str]]:
        """Read the log, append what each rule drafts, and set the aliases to what the log says then.

        The log is listed twice, and every entry is read at most once: the second time shows whether another
        process has written meanwhile; then the aliases are set again. A transaction that is killed between
        the entry and the aliases is completed by the next one: `apo reconcile` is a transaction without a
        decision.

        Returns:
            The entries written, and a line for each alias that moved.

        Raises:
            DecisionRefused: by a rule, which writes nothing.
            AuditBroken: the log is not what was written; nothing is appended or set.
            ApoError: the registry refuses. Whoever may not change the registry appends nothing.
        """
        head = remembered_head(self.client, self.model)
        entries = read_log(self.store, self.model, head)
        appended = [append(self.store, self.model, self._if_permitted(rule), entries) for rule in rules]
        written = [entry for entry in appended if entry is not None]
        try:
            return written, self._sync(entries, described=0 if head is None else head.sequence)
        except ApoError as error:
            if written:
                error.args = (_holds_without_aliases(written[-1], error),)
            raise

    def sync(self) -> list[str]:
        """Set the aliases to what the log says; a line for each alias that moved. See `transact`."""
        return self.transact()[1]

    def resolve(self, spec: VersionSpec) -> Registered:
        """Find the version that a person names, by aliases that were set to what the log says.

        Raises:
            ApoError: there is no such version, or registry or log refuse.
        """
        self.sync()
        return resolve(self.client, spec)

    def _if_permitted(self, rule: Rule) -> Rule:
        """The rule, which has the registry changed before anything is written: a reader is refused there.

        What it drafts names the account that the server knows this process by.
        """

        def permitted(state: State) -> Draft | None:
            draft = rule(state)
            if draft is None:
                return None
            mark_as_asked(self.client, self.model)
            account = self.account()
            named = {} if account is None else {"account": account}
            return replace(draft, evidence=draft.evidence | named)

        return permitted

    def _sync(self, entries: Sequence[Entry], described: int) -> list[str]:
        """Set the aliases until the log has not grown meanwhile; see `sync_aliases` for `described`."""
        moved: list[str] = []
        while entries:
            moved += sync_aliases(self.client, self.model, entries, described)
            described = len(entries)
            entries = read_log(self.store, self.model, known=entries)
            if len(entries) == described:
                break
        return moved


def open_log(workspace: Workspace, model: str) -> DecisionLog:
    """Connect to the registry and the store that the environment names, else to the workspace's own."""
    return DecisionLog(connect(workspace), open_store(workspace), model)


def read_log(
    store: AuditStore, model: str, head: Head | None = None, *, known: Sequence[Entry] = ()
) -> list[Entry]:
    """Read and verify all entries of a model, in order.

    Args:
        store: where they lie.
        model: name of the registered model.
        head: what the registry remembers of the log.
        known: entries that were read a moment ago; they never change, and are not read again.

    Raises:
        AuditBroken: they are not what was written.
    """
    names = store.names(model)
    read_before = {_file_name(entry.sequence): entry for entry in known}
    entries = [
        read_before.get(name) or from_json(store.read(model, name), f"{model}: {name}") for name in names
    ]
    for entry, name in zip(entries, names, strict=True):
        if entry.model != model or name != _file_name(entry.sequence):
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
    store: AuditStore,
    model: str,
    rule: Rule,
    entries: list[Entry] | None = None,
    *,
    now: datetime | None = None,
) -> Entry | None:
    """Write the entry that the rule drafts for the state of the log; None where it drafts none.

    If another process has written an entry of that number first, the log is read and the rule applied again.

    Args:
        store: where the log lies.
        model: name of the registered model.
        rule: pure, except that it may refuse; it may be called more than once.
        entries: the log as it was read a moment ago, which is extended in place; None to read it.
        now: time of the entry.

    Raises:
        DecisionRefused: by the rule; nothing is written.
        AuditBroken: the log is not what was written; nothing is appended.
    """
    nonce = uuid4().hex
    entries = read_log(store, model) if entries is None else entries
    while (draft := rule(state_of(entries))) is not None:
        entry = seal(entries, model=model, time=now or datetime.now(UTC), nonce=nonce, **vars(draft))
        if store.create(model, _file_name(entry.sequence), to_json(entry)):
            entries.append(entry)
            return entry
        entries[:] = read_log(store, model, known=entries)
    return None


class AuditStore(Protocol):
    """Files by name, which are created once and never changed."""

    def names(self, model: str) -> list[str]:
        """List the names of a model's files, sorted."""
        ...

    def read(self, model: str, name: str) -> str:
        """Read a file; what is no UTF-8 is replaced, and the entry's hash finds it."""
        ...

    def create(self, model: str, name: str, text: str) -> bool:
        """Create a file, whole or not at all; False if there is one of that name with another text."""
        ...


def open_store(workspace: Workspace) -> AuditStore:
    """Open the store of `APO_AUDIT_URI`, else the workspace's own.

    Raises:
        ApoError: the address has an unknown form, or the registry is shared and the log would not be.
    """
    address = os.environ.get(VARIABLE, "")
    if address.startswith("s3://"):
        from tasks.decisions.log_on_s3 import S3Store  # boto3: only those who use it pay for the import

        return S3Store(address)
    if "://" in address:
        raise ApoError(f"{VARIABLE}: {address!r} is no directory, nor of the form s3://bucket/prefix")
    if not address and is_remote(tracking_uri(workspace)):
        raise ApoError(
            f"MLFLOW_TRACKING_URI is a server, and {VARIABLE} is not set: who shares the registry shares the "
            "log of its decisions"
        )
    return DirectoryStore(workspace.root / address if address else workspace.state / "audit")


def _holds_without_aliases(entry: Entry, error: ApoError) -> str:
    about = f"version {entry.version}: " if entry.version else ""
    return (
        f"{entry.model}: {about}entry {entry.sequence} of the log says {entry.event}, and "
        f"holds; but the registry's aliases are not set yet: {error}; `apo reconcile {entry.model}` sets them"
    )


def _file_name(sequence: int) -> str:
    return f"{sequence:08}.json"
