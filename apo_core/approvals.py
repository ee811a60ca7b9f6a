"""What a log of decisions says of a model, and which may follow: pure functions, without any I/O."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from apo_core.audit import Entry, Event
from apo_core.errors import ApoError

Decision = Literal["approve", "reject"]
_EVENTS: dict[Decision, Event] = {"approve": "approved", "reject": "rejected"}
AUTOMATIC = "promotion.approval: auto"  # who approves where no person is asked


class DecisionRefused(ApoError):
    """A decision that the rules do not allow; nothing has changed."""


class State(NamedTuple):
    """Where a model stands."""

    champion: str | None  # the version in production
    before: tuple[str, ...]  # what a rollback goes back to, the last first choice
    ever: frozenset[str]  # every version that was the champion once
    candidate: str | None  # the newest candidate, unless it was turned down
    pending: Entry | None  # the candidate that waits for a decision
    last: dict[str, Entry]  # what was last said of every version


class Draft(NamedTuple):
    """An entry to be: see `audit.Entry`."""

    event: Event
    version: str
    by: str
    reason: str
    evidence: dict[str, Any]


def state_of(entries: Sequence[Entry]) -> State:
    """Fold a log. A newer candidate takes the place of one that still waits.

    A version that was rolled back from is not what the next rollback goes to.
    """
    champions: list[str] = []  # a stack
    ever: set[str] = set()
    candidate: str | None = None
    pending: Entry | None = None
    last: dict[str, Entry] = {}
    for entry in entries:
        last[entry.version] = entry
        if entry.event == "candidate":
            candidate, pending = entry.version, entry
        elif pending is not None and pending.version == entry.version:
            candidate = entry.version if entry.event == "approved" else None
            pending = None
        if entry.event == "rollback" and entry.version in champions:
            del champions[champions.index(entry.version) + 1 :]
        elif entry.event in ("approved", "rollback"):
            champions.append(entry.version)
        ever.update(champions)
    champion = champions[-1] if champions else None
    return State(champion, tuple(champions[:-1]), frozenset(ever), candidate, pending, last)


def propose(
    state: State,
    version: str,
    *,
    started_by: str,
    four_eyes: bool,
    expires: datetime,
    evidence: dict[str, Any],
) -> Draft | None:
    """Open the approval of a version; None where that has been done.

    The rules that it is to be decided by are part of the entry: who decides cannot change them.
    """
    if version in state.last:
        return None
    rules = {"started_by": started_by, "four_eyes": four_eyes, "expires": expires.isoformat()}
    reason = str(evidence.get("decision", "a candidate"))
    return Draft("candidate", version, started_by, reason, evidence | rules)


def decide(
    state: State, version: str, decision: Decision, *, by: str, reason: str, now: datetime
) -> Draft | None:
    """Approve or reject exactly that version; None where the same person has said the same before.

    Raises:
        DecisionRefused: it does not wait for a decision, the time is over, the person may not decide it,
            or name or reason are missing.
    """
    by, reason = _named(by, reason)
    event = _EVENTS[decision]
    last = state.last.get(version)
    if last is None:
        raise DecisionRefused(f"version {version} was never a candidate")
    if state.pending is None or state.pending.version != version:
        if last.event == event and _same_person(last.by, by):
            return None
        raise DecisionRefused(f"version {version} does not wait for a decision: {_standing(last)}")
    rules = state.pending.evidence
    if now >= datetime.fromisoformat(rules["expires"]):
        raise DecisionRefused(f"version {version}: the time to decide was over at {rules['expires']}")
    if decision == "approve" and rules["four_eyes"] and _same_person(by, rules["started_by"]):
        raise DecisionRefused(
            f"version {version}: {by} started the run that made it; another approves (promotion.four_eyes)"
        )
    return Draft(event, version, by, reason, {"candidate": state.pending.hash})


def approve_automatically(state: State, version: str) -> Draft | None:
    """What `promotion.approval: auto` says of a candidate; None where it does not wait."""
    if state.pending is None or state.pending.version != version:
        return None
    return Draft("approved", version, AUTOMATIC, state.pending.reason, {"candidate": state.pending.hash})


def expire(state: State, now: datetime) -> Draft | None:
    """Close the approval that nobody gave in time, if there is one."""
    pending = state.pending
    if pending is None or now < datetime.fromisoformat(pending.evidence["expires"]):
        return None
    reason = f"nobody decided before {pending.evidence['expires']}"
    return Draft("expired", pending.version, "the clock", reason, {"candidate": pending.hash})


def roll_back(state: State, to: str | None, *, by: str, reason: str) -> Draft:
    """Give production back to a version that has had it; by default to the one before.

    Raises:
        DecisionRefused: there is no such version, or name or reason are missing.
    """
    by, reason = _named(by, reason)
    if to is None and not state.before:
        raise DecisionRefused("no version was champion before the present one")
    version = to or state.before[-1]
    if version == state.champion:
        raise DecisionRefused(f"version {version} is the champion already")
    if version not in state.ever:
        raise DecisionRefused(f"version {version} was never the champion: approve it instead")
    return Draft("rollback", version, by, reason, {"from": state.champion})


def _named(by: str, reason: str) -> tuple[str, str]:
    by, reason = " ".join(by.split()), " ".join(reason.split())
    if not by or not reason:
        raise DecisionRefused("a decision has the name of a person and a reason")
    if by == AUTOMATIC:
        raise DecisionRefused(f"{by!r} is no person")
    return by, reason


def _same_person(one: str, other: str) -> bool:
    return one.strip().casefold() == other.strip().casefold()


def _standing(last: Entry) -> str:
    if last.event == "candidate":
        return "a newer candidate took its place"
    return f"it was {_PAST[last.event]} by {last.by} at {last.time}"


_PAST = {
    "approved": "approved",
    "rejected": "rejected",
    "expired": "closed",
    "rollback": "made champion again",
}
