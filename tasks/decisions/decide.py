"""The decisions on versions of a registered model: propose, approve or reject, roll back, reconcile.

Each is one transaction on the log of decisions: a rule of `apo_core.decisions.approval_rule`, applied by
`DecisionLog.transact`, which also sets the aliases. Of two decisions at once the one that is written first
holds.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from apo_core.config import Promotion
from apo_core.decisions import approval_rule
from apo_core.decisions.approval_rule import Decision, DecisionRefused, Draft, State
from apo_core.decisions.audit_chain import Entry
from tasks.decisions.aliases import holds_proposed_policy
from tasks.decisions.log import DecisionLog
from tasks.tracking.model_files import DamagedModel
from tasks.tracking.registry import Registered, check_model, find, registry_errors, tags_of, versions_of

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

# Tags by which a person decides on MLflow's page. The decision comes last: with it the others are read.
DECISION_TAG, BY_TAG, REASON_TAG = "approval.decision", "approval.by", "approval.reason"
_WORDS: dict[str, Decision] = {"approve": "approve", "reject": "reject"}
_TAKEN_UP = "taken up: "  # begins the decision tag after it was read


def propose(
    log: DecisionLog,
    registered: Registered,
    promotion: Promotion,
    *,
    started_by: str,
    evidence: dict[str, Any],
) -> None:
    """Make a registered version a candidate, and the champion if the configuration asks no person.

    A candidate whose time is over is closed first. It may be this version, which is then proposed again.

    Raises:
        ChampionChanged: `evidence` names a `champion`, and another one is in production now.
        DecisionRefused: the log knows another policy by this version's number, or its files are damaged.
        ApoError: registry or log refuse.
    """
    now, version, account = datetime.now(UTC), registered.version, log.account()

    def close_expired(state: State) -> Draft | None:
        _require_version(log, state, version)
        return approval_rule.expire(state, now)

    def open_approval(state: State) -> Draft | None:
        return approval_rule.propose(
            state,
            version,
            started_by=started_by,
            account=account,
            by_person=promotion.approval == "manual",
            four_eyes=promotion.four_eyes,
            expires=now + timedelta(hours=promotion.approval_hours),
            evidence=evidence,
        )

    def approve_without_person(state: State) -> Draft | None:
        return approval_rule.approve_automatically(state, version, now)

    log.transact(close_expired, open_approval, approve_without_person)


def decide(
    log: DecisionLog,
    version: str,
    decision: Decision,
    *,
    by: str,
    reason: str,
    account: str | None = None,
    now: datetime | None = None,
) -> Entry | None:
    """Approve or reject a candidate; None where the same person has decided the same before.

    `account` is `log.account()` if this process is the person's own; None if it passes on what a person has
    entered elsewhere, since the account of a service vouches for nobody.

    Raises:
        DecisionRefused: the rules do not allow it, there is no such version, or it is to be approved and its
            files are damaged; nothing has changed.
        ApoError: registry or log refuse, or the aliases could not be set.
    """
    now = now or datetime.now(UTC)

    def rule(state: State) -> Draft | None:
        if decision == "approve":  # a version that is gone may be rejected
            _require_version(log, state, version)
        return approval_rule.decide(state, version, decision, by=by, account=account, reason=reason, now=now)

    return _only(log.transact(rule)[0])


def roll_back(log: DecisionLog, to: str | None, *, by: str, reason: str) -> Entry | None:
    """Make a former champion the champion again, by default the one before; None if it was just done.

    Raises:
        DecisionRefused: there is no such former champion, its version is gone or damaged, or another version
            has become champion meanwhile; nothing has changed.
        ApoError: registry or log refuse, or the aliases could not be set.
    """
    seen: list[str | None] = []  # the champions at each attempt; the person has decided on the first

    def rule(state: State) -> Draft | None:
        seen.append(state.champion)
        draft = approval_rule.roll_back(state, to, champion=seen[0], by=by, reason=reason)
        if draft is not None:
            _require_version(log, state, draft.version)
        return draft

    return _only(log.transact(rule)[0])


def reconcile(log: DecisionLog) -> list[str]:
    """Take up decisions made on MLflow's page, close a candidate that is out of time, set the aliases right.

    Returns:
        A line for everything that was done.
    """
    lines = _take_up_tags(log)
    expired, moved = log.transact(lambda state: approval_rule.expire(state, datetime.now(UTC)))
    lines += [f"{log.model} version {entry.version}: expired: {entry.reason}" for entry in expired]
    return lines + moved


def _only(written: list[Entry]) -> Entry | None:
    return written[0] if written else None


def _require_version(log: DecisionLog, state: State, version: str) -> None:
    """Check that the registry has a version, and that it holds the policy that was proposed as it.

    All its files are read. Nothing is read of a version whose hash is not recorded.
    """
    with registry_errors():
        registered = find(log.client, log.model, version)
        tags = {} if registered is None else tags_of(log.client, registered)
    if registered is None:
        raise DecisionRefused(f"{log.model}: has no version {version}")
    if not holds_proposed_policy(state, version, tags):
        raise DecisionRefused(
            f"{log.model}: version {version} is another policy than the one that was proposed as that"
        )
    try:
        with registry_errors():
            check_model(log.client, registered)
    except DamagedModel as damage:
        raise DecisionRefused(str(damage)) from None


def _take_up_tags(log: DecisionLog) -> list[str]:
    """Decide as the tags of versions say; the decision tag then says what became of it."""
    with registry_errors():
        versions = versions_of(log.client, log.model)
    lines = []
    for number, version in versions.items():
        word = version.tags.get(DECISION_TAG, "").strip().casefold()
        if not word or word.startswith(_TAKEN_UP):
            continue
        try:
            answer = _TAKEN_UP + _decide_by_tags(log, number, word, version)
        except DecisionRefused as error:
            answer = f"{_TAKEN_UP}refused: {error}"
        with registry_errors():
            log.client.set_model_version_tag(log.model, number, DECISION_TAG, answer)
        lines.append(f"{log.model} version {number}: {answer}")
    return lines


def _decide_by_tags(log: DecisionLog, number: str, word: str, version: ModelVersion) -> str:
    decision = _WORDS.get(word)
    if decision is None:
        raise DecisionRefused(f"{word!r} is neither approve nor reject")
    by, reason = version.tags.get(BY_TAG, ""), version.tags.get(REASON_TAG, "")
    entry = decide(log, number, decision, by=by, reason=reason)
    return "decided before" if entry is None else entry.event
