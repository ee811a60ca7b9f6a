"""Decisions on versions of the registered model: the audit log says what holds, the aliases follow.

A decision is an entry of the log, and of two at once the one that is written first. The aliases are set after
it; should that be interrupted, `follow` does it later.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from apo_core import approvals
from apo_core.approvals import Decision, Draft, State, state_of
from apo_core.audit import Entry, Head, head_of
from apo_core.config import Promotion
from apo_core.errors import ApoError
from tasks.audit_store import AuditStore, append, read_log
from tasks.registry import CANDIDATE, CHAMPION, Registered, find, model_tags, registry_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient

_HEAD = "audit_head"  # tag of the registered model
_STATUS = "approval"  # tag of a version, for people: "approved by Ada: why"
# Tags by which a person decides on MLflow's page: the last two first, the decision is what is waited for.
DECISION_TAG, BY_TAG, REASON_TAG = "approval.decision", "approval.by", "approval.reason"


def propose(
    client: MlflowClient,
    store: AuditStore,
    registered: Registered,
    rules: Promotion,
    *,
    started_by: str,
    evidence: dict[str, Any],
) -> None:
    """Make a registered version a candidate, and the champion where no person is to be asked."""
    now = datetime.now(UTC)
    expires = now + timedelta(hours=rules.approval_hours)

    def opened(state: State) -> Draft | None:
        return approvals.propose(
            state,
            registered.version,
            started_by=started_by,
            four_eyes=rules.four_eyes,
            expires=expires,
            evidence=evidence,
        )

    _append(client, store, registered.name, opened)
    if rules.approval == "auto":
        _append(
            client,
            store,
            registered.name,
            lambda state: approvals.approve_automatically(state, registered.version),
        )
    follow(client, store, registered.name)


def decide(
    client: MlflowClient,
    store: AuditStore,
    model: str,
    version: str,
    decision: Decision,
    *,
    by: str,
    reason: str,
    now: datetime | None = None,
) -> Entry | None:
    """Approve or reject a version; None where the same person has said the same before.

    Raises:
        DecisionRefused: the rules do not allow it.
        ApoError: there is no such version, or registry or log refuse; nothing has changed.
    """
    _check_version(client, model, version)
    at = now or datetime.now(UTC)
    entry = _append(
        client,
        store,
        model,
        lambda state: approvals.decide(state, version, decision, by=by, reason=reason, now=at),
    )
    follow(client, store, model)
    return entry


def roll_back(
    client: MlflowClient, store: AuditStore, model: str, to: str | None, *, by: str, reason: str
) -> Entry:
    """Give production back to an earlier champion.

    Raises:
        DecisionRefused: there is none, or not that one.
        ApoError: the version is gone from the registry, or registry or log refuse; nothing has changed.
    """

    def proposed(state: State) -> Draft:
        draft = approvals.roll_back(state, to, by=by, reason=reason)
        _check_version(client, model, draft.version)
        return draft

    entry = _append(client, store, model, proposed)
    assert entry is not None
    follow(client, store, model)
    return entry


def reconcile(client: MlflowClient, store: AuditStore, model: str) -> list[str]:
    """Take up what people have said on MLflow's page, close what is out of time, and set aliases right.

    Returns:
        A line for everything that was done.
    """
    done = _take_up_tags(client, store, model)
    expired = _append(client, store, model, lambda state: approvals.expire(state, datetime.now(UTC)))
    if expired is not None:
        done.append(f"{model} version {expired.version}: expired: {expired.reason}")
    return done + follow(client, store, model)


def follow(client: MlflowClient, store: AuditStore, model: str) -> list[str]:
    """Set aliases, tags and the remembered head to what the log says; a line for every alias that moved.

    Another process may write to the log meanwhile: what is right is looked at again after it was set.

    Raises:
        AuditBroken: the log is not what was written; nothing is set.
    """
    done: list[str] = []
    while True:
        head = remembered_head(client, model)
        entries = read_log(store, model, head)
        if not entries:
            return done
        with registry_errors():
            done += _set_aliases(client, model, state_of(entries))
            for entry in entries[0 if head is None else head.sequence :]:
                status = f"{entry.event} by {entry.by}: {entry.reason}"
                client.set_model_version_tag(model, entry.version, _STATUS, status)
        _remember(client, model, entries)
        if len(read_log(store, model)) == len(entries):
            return done


def remembered_head(client: MlflowClient, model: str) -> Head | None:
    """What the registry remembers of a model's log; None where there is no such model yet.

    Raises:
        ApoError: the registry does not answer.
    """
    with registry_errors():
        tag = model_tags(client, model).get(_HEAD)
    if tag is None:
        return None
    sequence, _, digest = tag.partition(":")
    if not sequence.isdigit():
        raise ApoError(f"{model}: its tag {_HEAD} is {tag!r}, which apo-flow has not written")
    return Head(int(sequence), digest)


def _append(
    client: MlflowClient, store: AuditStore, model: str, proposed: Callable[[State], Draft | None]
) -> Entry | None:
    entries = read_log(store, model, remembered_head(client, model))
    if entries and proposed(state_of(entries)) is not None:
        # First what may be refused: whoever may not change the registry is not to change the log either.
        _remember(client, model, entries)
    return append(store, model, proposed)


def _remember(client: MlflowClient, model: str, entries: list[Entry]) -> None:
    head = head_of(entries)
    with registry_errors():
        client.set_registered_model_tag(model, _HEAD, f"{head.sequence}:{head.hash}")


def _check_version(client: MlflowClient, model: str, version: str) -> None:
    with registry_errors():
        found = find(client, model, version)
    if found is None:
        raise ApoError(f"{model}: has no version {version}")


def _set_aliases(client: MlflowClient, model: str, state: State) -> list[str]:
    aliases = client.get_registered_model(model).aliases
    done = []
    for alias, version in ((CHAMPION, state.champion), (CANDIDATE, state.candidate)):
        holder = None if alias not in aliases else str(aliases[alias])
        if holder == version:
            continue
        if version is None:
            client.delete_registered_model_alias(model, alias)
        else:
            client.set_registered_model_alias(model, alias, version)
        done.append(f"{model}: {alias} is {'no version' if version is None else f'version {version}'}")
    return done


def _take_up_tags(client: MlflowClient, store: AuditStore, model: str) -> list[str]:
    """Decisions that were made by tags of a version; the tag says afterwards what became of it."""
    pending = state_of(read_log(store, model, remembered_head(client, model))).pending
    if pending is None:
        return []
    with registry_errors():
        tags = client.get_model_version(model, pending.version).tags
    word = tags.get(DECISION_TAG, "").strip().casefold()
    by, reason = tags.get(BY_TAG, ""), tags.get(REASON_TAG, "")
    if word not in ("approve", "reject"):
        return []
    try:
        entry = decide(client, store, model, pending.version, word, by=by, reason=reason)
        outcome: str = "done before" if entry is None else entry.event
    except approvals.DecisionRefused as error:
        outcome = f"refused: {error}"
    with registry_errors():
        client.set_model_version_tag(model, pending.version, DECISION_TAG, outcome)
    return [f"{model} version {pending.version}: {outcome}"]
