"""Decisions on versions of the registered model: the audit log says what holds, the aliases follow.

A decision is an entry of the log, and of two at once the one that is written first. The aliases are set after
it; should that be interrupted, `follow` does it later. Every entry is read once for a decision; whether there
are more is asked anew at every step.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from apo_core.config import Promotion
from apo_core.decisions import approval_rule
from apo_core.decisions.approval_rule import Decision, DecisionRefused, Draft, State, state_of
from apo_core.decisions.audit_chain import Entry
from apo_core.errors import ApoError
from tasks.decisions.aliases import follow, is_proposed, read
from tasks.decisions.log import AuditStore, append, once
from tasks.tracking.registry import Registered, registry_errors, versions_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

_ASKED = "audit_asked"  # tag of the registered model: when somebody last wanted to decide
# Tags by which a person decides on MLflow's page: the last two first, the decision is what is waited for.
DECISION_TAG, BY_TAG, REASON_TAG = "approval.decision", "approval.by", "approval.reason"
_WORDS: dict[str, Decision] = {"approve": "approve", "reject": "reject"}
_TAKEN_UP = "taken up: "  # how such a tag begins once it has been


def propose(
    client: MlflowClient,
    store: AuditStore,
    registered: Registered,
    rules: Promotion,
    *,
    started_by: str,
    evidence: dict[str, Any],
) -> None:
    """Make a registered version a candidate, and the champion where no person is to be asked.

    What is out of time is closed first, and may be this version: it is opened again then.

    Raises:
        DecisionRefused: the log knows another policy by this version's number.
        ApoError: registry or log refuse.
    """
    store, now, model, version = once(store), datetime.now(UTC), registered.name, registered.version
    _check_version(client, store, model, version)

    def opened(state: State) -> Draft | None:
        return approval_rule.propose(
            state,
            version,
            started_by=started_by,
            by_person=rules.approval == "manual",
            four_eyes=rules.four_eyes,
            expires=now + timedelta(hours=rules.approval_hours),
            evidence=evidence,
        )

    _append(client, store, model, lambda state: approval_rule.expire(state, now))
    _append(client, store, model, opened)
    _append(client, store, model, lambda state: approval_rule.approve_automatically(state, version, now))
    follow(client, store, model)


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
        DecisionRefused: the rules do not allow it, or there is no such version; nothing has changed.
        ApoError: registry or log refuse, or the registry does not follow.
    """
    store = once(store)
    if decision == "approve":  # one that is gone may be turned down
        _check_version(client, store, model, version)
    at = now or datetime.now(UTC)
    entry = _append(
        client,
        store,
        model,
        lambda state: approval_rule.decide(state, version, decision, by=by, reason=reason, now=at),
    )
    _follow_decision(client, store, model, entry)
    return entry


def roll_back(
    client: MlflowClient, store: AuditStore, model: str, to: str | None, *, by: str, reason: str
) -> Entry | None:
    """Give production back to an earlier champion; None where that is what the last rollback did.

    Raises:
        DecisionRefused: there is none, not that one, it is gone, or there is another champion meanwhile;
            nothing has changed.
        ApoError: registry or log refuse, or the registry does not follow.
    """
    store = once(store)
    champion = state_of(read(client, store, model)).champion

    def proposed(state: State) -> Draft | None:
        draft = approval_rule.roll_back(state, to, champion=champion, by=by, reason=reason)
        if draft is not None:
            _check_version(client, store, model, draft.version)
        return draft

    entry = _append(client, store, model, proposed)
    _follow_decision(client, store, model, entry)
    return entry


def reconcile(client: MlflowClient, store: AuditStore, model: str) -> list[str]:
    """Take up what people have said on MLflow's page, close what is out of time, and set aliases right.

    Returns:
        A line for everything that was done.
    """
    store = once(store)
    done = _take_up_tags(client, store, model)
    expired = _append(client, store, model, lambda state: approval_rule.expire(state, datetime.now(UTC)))
    if expired is not None:
        done.append(f"{model} version {expired.version}: expired: {expired.reason}")
    return done + follow(client, store, model)


def _append(
    client: MlflowClient, store: AuditStore, model: str, proposed: Callable[[State], Draft | None]
) -> Entry | None:
    if proposed(state_of(read(client, store, model))) is None:
        return None
    with registry_errors():  # whoever may not change the registry is not to change the log either
        client.set_registered_model_tag(model, _ASKED, datetime.now(UTC).isoformat())
    return append(store, model, proposed)


def _follow_decision(client: MlflowClient, store: AuditStore, model: str, entry: Entry | None) -> None:
    try:
        follow(client, store, model)
    except ApoError as error:
        if entry is None:
            raise
        raise ApoError(
            f"{model}: version {entry.version}: entry {entry.sequence} of the log says {entry.event}, and "
            f"holds; but the registry does not follow yet: {error}; `apo reconcile` lets it"
        ) from None


def _check_version(client: MlflowClient, store: AuditStore, model: str, version: str) -> None:
    """See that the registry has a version, and that it is the one the log knows by that number."""
    state = state_of(read(client, store, model))
    with registry_errors():
        found = versions_of(client, model).get(version)
    if found is None:
        raise DecisionRefused(f"{model}: has no version {version}")
    if not is_proposed(state, version, found.tags):
        raise DecisionRefused(
            f"{model}: version {version} is another policy than the one that was proposed as that"
        )


def _take_up_tags(client: MlflowClient, store: AuditStore, model: str) -> list[str]:
    """Decisions that were made by tags of a version; the tag says afterwards what became of it."""
    done = []
    with registry_errors():
        versions = versions_of(client, model)
    for version, found in versions.items():
        word = found.tags.get(DECISION_TAG, "").strip().casefold()
        if not word or word.startswith(_TAKEN_UP):
            continue
        by, reason = found.tags.get(BY_TAG, ""), found.tags.get(REASON_TAG, "")
        try:
            outcome = _decide_by_tag(client, store, model, version, word, by=by, reason=reason)
        except DecisionRefused as error:
            outcome = f"{_TAKEN_UP}refused: {error}"
        with registry_errors():
            client.set_model_version_tag(model, version, DECISION_TAG, outcome)
        done.append(f"{model} version {version}: {outcome}")
    return done


def _decide_by_tag(
    client: MlflowClient, store: AuditStore, model: str, version: str, word: str, *, by: str, reason: str
) -> str:
    decision = _WORDS.get(word)
    if decision is None:
        raise DecisionRefused(f"{word!r} is neither approve nor reject")
    entry = decide(client, store, model, version, decision, by=by, reason=reason)
    return _TAKEN_UP + ("said before" if entry is None else entry.event)
