"""What a log of decisions says of a model, and which may follow: pure functions, without any I/O."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from apo_core.decisions.audit_chain import Entry, Event
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
    candidate: str | None  # the newest candidate, unless it was turned down or rolled back from
    pending: Entry | None  # the candidate that waits for a decision
    candidates: dict[str, Entry]  # by version: what it was proposed on
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
    candidates: dict[str, Entry] = {}
    last: dict[str, Entry] = {}
    for entry in entries:
        last[entry.version] = entry
        if entry.event == "candidate":
            candidate, pending = entry.version, entry
            candidates[entry.version] = entry
        elif pending is not None and pending.version == entry.version:
            candidate = entry.version if entry.event == "approved" else None
            pending = None
        if entry.event == "rollback" and entry.version in champions:
            candidate = None if candidate == champions[-1] else candidate
            del champions[champions.index(entry.version) + 1 :]
        elif entry.event in ("approved", "rollback"):
            champions.append(entry.version)
        ever.update(champions)
    champion = champions[-1] if champions else None
    return State(champion, tuple(champions[:-1]), frozenset(ever), candidate, pending, candidates, last)


def propose(
    state: State,
    version: str,
    *,
    started_by: str,
    by_person: bool,
    four_eyes: bool,
    expires: datetime,
    evidence: dict[str, Any],
) -> Draft | None:
    """Open the approval of a version, or open it again; None where that is not to be: see `is_open`.

    The rules that it is to be decided by are part of the entry: who decides cannot change them. A model's
    rules only become stricter, whatever the configuration of a later run says. For four eyes, who started
    the run that made a version stays who did, whoever has it opened again.

    Raises:
        DecisionRefused: nobody is named who started the run.
    """
    if not is_open(state, version):
        return None
    started_by = _person(started_by)
    before = [entry.evidence for entry in state.candidates.values()]
    first = state.candidates.get(version)
    rules = {
        "started_by": started_by if first is None else first.evidence["started_by"],
        "by_person": by_person or any(one["by_person"] for one in before),
        "four_eyes": four_eyes or any(one["four_eyes"] for one in before),
        "expires": expires.isoformat(),
    }
    reason = str(evidence.get("decision", "a candidate"))
    return Draft("candidate", version, started_by, reason, evidence | rules)


def is_open(state: State, version: str) -> bool:
    """Whether a version may be proposed: it never was, or it was and no person has ever decided on it.

    That is so where the time was over, or a newer candidate took its place. It does not take that one's place
    in turn: while anything waits, what was proposed before stays as it is.
    """
    last = state.last.get(version)
    return last is None or (state.pending is None and last.event in ("candidate", "expired"))


def decide(
    state: State, version: str, decision: Decision, *, by: str, reason: str, now: datetime
) -> Draft | None:
    """Approve or reject exactly that version; None where the same person has said the same before.

    Raises:
        DecisionRefused: it does not wait for a decision, the time is over, the person may not decide it,
            or name or reason are missing.
    """
    by, reason = _person(by), _reason(reason)
    event = _EVENTS[decision]
    last = state.last.get(version)
    if last is None:
        raise DecisionRefused(f"version {version} was never a candidate")
    if state.pending is None or state.pending.version != version:
        if last.event == event and _same_person(last.by, by):
            return None
        raise DecisionRefused(f"version {version} does not wait for a decision: {_standing(last)}")
    rules = state.pending.evidence
    if is_over(state.pending, now):
        raise DecisionRefused(f"version {version}: the time to decide was over at {rules['expires']}")
    if decision == "approve" and rules["four_eyes"] and _same_person(by, rules["started_by"]):
        raise DecisionRefused(
            f"version {version}: {by} started the run that made it; another approves (promotion.four_eyes)"
        )
    return Draft(event, version, by, reason, {"candidate": state.pending.hash})


def approve_automatically(state: State, version: str, now: datetime) -> Draft | None:
    """Approve a candidate that was proposed without a person to ask; None where it does not wait for that."""
    if state.pending is None or state.pending.version != version:
        return None
    if state.pending.evidence["by_person"] or is_over(state.pending, now):
        return None
    return Draft("approved", version, AUTOMATIC, state.pending.reason, {"candidate": state.pending.hash})


def expire(state: State, now: datetime) -> Draft | None:
    """Close the approval that nobody gave in time, if there is one."""
    pending = state.pending
    if pending is None or not is_over(pending, now):
        return None
    reason = f"nobody decided before {pending.evidence['expires']}"
    return Draft("expired", pending.version, "the clock", reason, {"candidate": pending.hash})


def ran_out(state: State, version: str, now: datetime) -> bool:
    """Whether nobody decided on a version in time, and no other waits by now."""
    last, pending = state.last.get(version), state.pending
    if last is None or (pending is not None and not is_over(pending, now)):
        return False
    return last.event == "expired" or last == pending


def is_over(candidate: Entry, now: datetime) -> bool:
    """Whether the time to decide on a candidate has passed."""
    return now >= datetime.fromisoformat(candidate.evidence["expires"])


def roll_back(state: State, to: str | None, *, champion: str | None, by: str, reason: str) -> Draft | None:
    """Give production back to a version that has had it; by default to the one before.

    None where the last rollback was this one: who repeats a command whose answer was lost goes back once.

    Args:
        state: where the model stands.
        to: a version.
        champion: the one that the person wants to be rid of.
        by: the person.
        reason: why.

    Raises:
        DecisionRefused: there is no such version, another has become champion meanwhile, or name or reason
            are missing.
    """
    by, reason = _person(by), _reason(reason)
    if state.champion is not None and to in (None, state.champion):
        last = state.last[state.champion]
        if (last.event, last.reason) == ("rollback", reason) and _same_person(last.by, by):
            return None
    if champion != state.champion:
        raise DecisionRefused(f"version {state.champion} has become the champion meanwhile; look again")
    if to is None and not state.before:
        raise DecisionRefused("no version was champion before the present one")
    version = to or state.before[-1]
    if version == state.champion:
        raise DecisionRefused(f"version {version} is the champion already")
    if version not in state.ever:
        raise DecisionRefused(f"version {version} was never the champion: approve it instead")
    return Draft("rollback", version, by, reason, {"from": state.champion})


def _person(name: str) -> str:
    """One spelling of a name."""
    name = " ".join(unicodedata.normalize("NFKC", name).split())
    if not name:
        raise DecisionRefused("a decision has the name of a person")
    if name == AUTOMATIC:
        raise DecisionRefused(f"{name!r} is no person")
    return name


def _reason(text: str) -> str:
    text = " ".join(text.split())
    if not text:
        raise DecisionRefused("a decision has a reason")
    return text


def _same_person(one: str, other: str) -> bool:
    return _person(one).casefold() == _person(other).casefold()


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
