"""The approval rule: what the log of a model's decisions says, and which decision may come next.

Pure functions, without any I/O: `state_of` folds a log of entries into a `State`; every other function takes
a `State` and returns the `Draft` of the next entry, or None where nothing is to be written.

The states of a version, the aliases it has there, and the events that lead from one to the next:

    registered
        |  candidate: a pipeline run proposes the version
        v
    WAITING (alias `candidate`)
        |--  approved: by a person, or by `promotion.approval: auto`  -->  CHAMPION (alias `champion`)
        |--  rejected: by a person                                    -->  REJECTED
        |--  expired: nobody decided in time                          -->  UNDECIDED
        `--  candidate: a newer version is proposed                   -->  UNDECIDED

    UNDECIDED         --  candidate: proposed again, while no other version waits  -->  WAITING
    CHAMPION          --  approved: another version                                -->  FORMER CHAMPION
    FORMER CHAMPION   --  rollback: by a person                                    -->  CHAMPION

At most one version is WAITING and one is CHAMPION. A rollback goes to the champion before, or to the former
champion that it names. Say versions 1, 2 and 3 were approved in that order. A rollback makes 2 the champion
and takes both aliases from 3; the next one makes 1 the champion, not 3. One that names 3 brings 3 back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from apo_core.decisions.audit_chain import Entry, Event
from apo_core.decisions.four_eyes import objection
from apo_core.decisions.person import problem_of, spelling
from apo_core.errors import ApoError

Decision = Literal["approve", "reject"]
_EVENTS: dict[Decision, Event] = {"approve": "approved", "reject": "rejected"}
_PAST: dict[Event, str] = {
    "approved": "approved",
    "rejected": "rejected",
    "expired": "closed",
    "rollback": "made champion again",
}
AUTOMATIC = "promotion.approval: auto"  # who approves where the configuration asks no person
CLOCK = "the clock"  # who closes an approval that is out of time


class DecisionRefused(ApoError):
    """A decision that the rules do not allow; nothing has changed."""


class ChampionChanged(DecisionRefused):
    """A version was compared with another champion than there is now."""


@dataclass(frozen=True, kw_only=True)
class State:
    """What a log says of a model. Versions are the registry's numbers, as text."""

    champion: str | None  # the version in production
    previous_champions: tuple[str, ...]  # the stack a rollback goes down, the next one last
    all_champions: frozenset[str]  # every version that was ever the champion
    candidate: str | None  # the newest candidate, unless it was rejected, has expired or was rolled back from
    pending: Entry | None  # the `candidate` entry that waits for a decision
    candidates: dict[str, Entry]  # by version: its newest `candidate` entry
    last: dict[str, Entry]  # by version: its newest entry
    compared: tuple[Entry, ...]  # the `compared` entries: see `apo_core.decisions.looks`


@dataclass(frozen=True, kw_only=True)
class Draft:
    """An entry before it is sealed: see `audit_chain.Entry`."""

    event: Event
    version: str
    by: str
    reason: str
    evidence: dict[str, Any]


def state_of(entries: Sequence[Entry]) -> State:
    """Fold a log. A newer candidate supersedes one that still waits."""
    champions: list[str] = []  # a stack
    all_champions: set[str] = set()
    candidate: str | None = None
    pending: Entry | None = None
    candidates: dict[str, Entry] = {}
    last: dict[str, Entry] = {}
    compared: list[Entry] = []
    for entry in entries:
        if entry.event == "compared":  # of no version: what follows from it, if anything, is an entry too
            compared.append(entry)
            continue
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
        all_champions.update(champions)
    return State(
        champion=champions[-1] if champions else None,
        previous_champions=tuple(champions[:-1]),
        all_champions=frozenset(all_champions),
        candidate=candidate,
        pending=pending,
        candidates=candidates,
        last=last,
        compared=tuple(compared),
    )


def propose(
    state: State,
    version: str,
    *,
    started_by: str,
    account: str | None,
    by_person: bool,
    four_eyes: bool,
    expires: datetime,
    evidence: dict[str, Any],
) -> Draft | None:
    """Make a version a candidate, or a candidate again; None where `may_be_proposed` says no.

    The rules for its decision become part of the entry, so that whoever decides cannot change them. A model's
    rules only become stricter, whatever the configuration of a later run says. For four eyes, whoever started
    the run that made a version counts as its maker, even if another person has it proposed again. `account`
    is what MLflow's server knows the run by; None if it has no accounts.

    Raises:
        ChampionChanged: `evidence` names a `champion`, and another one is in production now.
        DecisionRefused: `started_by` is empty, or is no person.
    """
    if evidence.get("champion", state.champion) != state.champion:
        former, present = evidence["champion"] or "none", state.champion or "none"
        raise ChampionChanged(f"version {version} was compared with champion {former}; now it is {present}")
    if not may_be_proposed(state, version):
        return None
    started_by = _person(started_by)
    earlier_rules = [entry.evidence for entry in state.candidates.values()]
    first = state.candidates.get(version)
    rules = {
        "started_by": started_by if first is None else first.evidence["started_by"],
        "started_by_account": account if first is None else first.evidence.get("started_by_account"),
        "by_person": by_person or any(rules["by_person"] for rules in earlier_rules),
        "four_eyes": four_eyes or any(rules["four_eyes"] for rules in earlier_rules),
        "expires": expires.isoformat(),
    }
    return Draft(
        event="candidate",
        version=version,
        by=started_by,
        reason=str(evidence.get("decision", "a candidate")),
        evidence=evidence | rules,
    )


def may_be_proposed(state: State, version: str) -> bool:
    """Whether a version is new; or nobody has decided on it, and no other version waits.

    Nobody has decided on a version that has expired or was superseded by a newer candidate. Such a version
    does not supersede in turn: while another one waits, it stays as it is.
    """
    last = state.last.get(version)
    return last is None or (state.pending is None and last.event in ("candidate", "expired"))


def decide(
    state: State,
    version: str,
    decision: Decision,
    *,
    by: str,
    account: str | None,
    reason: str,
    now: datetime,
) -> Draft | None:
    """Approve or reject exactly that version; None where the same person has decided the same before.

    `account` is the person's own at MLflow's server; None if it is not known.

    Raises:
        DecisionRefused: the version does not wait for a decision, its time is over, the person may not
            decide it, or name or reason are missing.
    """
    by, reason = _person(by), _reason(reason)
    event = _EVENTS[decision]
    last = state.last.get(version)
    if last is None:
        raise DecisionRefused(f"version {version} was never a candidate")
    if state.pending is None or state.pending.version != version:
        if last.event == event and _same_name(last.by, by):
            return None
        raise DecisionRefused(f"version {version} does not wait for a decision: {_standing(last)}")
    rules = state.pending.evidence
    if has_expired(state.pending, now):
        raise DecisionRefused(f"version {version}: the time to decide was over at {rules['expires']}")
    forbidden = objection(state.pending, by, account) if decision == "approve" else ""
    if forbidden:
        raise DecisionRefused(f"version {version}: {forbidden}")
    return _about(state.pending, event, by=by, reason=reason)


def approve_automatically(state: State, version: str, now: datetime) -> Draft | None:
    """Approve a candidate whose rules ask no person; None where the version does not wait for that."""
    pending = state.pending
    if pending is None or pending.version != version:
        return None
    if pending.evidence["by_person"] or has_expired(pending, now):
        return None
    return _about(pending, "approved", by=AUTOMATIC, reason=pending.reason)


def expire(state: State, now: datetime) -> Draft | None:
    """Close the candidate that nobody decided on in time; None where there is no such candidate."""
    pending = state.pending
    if pending is None or not has_expired(pending, now):
        return None
    reason = f"nobody decided before {pending.evidence['expires']}"
    return _about(pending, "expired", by=CLOCK, reason=reason)


def expired_undecided(state: State, version: str, now: datetime) -> bool:
    """Whether nobody decided on a version in time, and no other version waits now."""
    last, pending = state.last.get(version), state.pending
    if last is None or (pending is not None and not has_expired(pending, now)):
        return False
    return last.event == "expired" or last == pending


def has_expired(candidate: Entry, now: datetime) -> bool:
    """Whether the time to decide on a `candidate` entry has passed."""
    return now >= datetime.fromisoformat(candidate.evidence["expires"])


def roll_back(state: State, to: str | None, *, champion: str | None, by: str, reason: str) -> Draft | None:
    """Make a former champion the champion again; by default the one before the present champion.

    None where the last rollback was the same one: a person who repeats a command because its answer was lost
    goes back once.

    Args:
        state: what the log says.
        to: the version to go back to.
        champion: the champion when the person asked; the version to go back from.
        by: the person.
        reason: why.

    Raises:
        DecisionRefused: there is no former champion, `to` never was the champion, another version has become
            champion since the person asked, or name or reason are missing.
    """
    by, reason = _person(by), _reason(reason)
    if state.champion is not None and to in (None, state.champion):
        last = state.last[state.champion]
        if (last.event, last.reason) == ("rollback", reason) and _same_name(last.by, by):
            return None
    if champion != state.champion:
        raise DecisionRefused(f"version {state.champion} has become the champion meanwhile; look again")
    if to is None and not state.previous_champions:
        others = " or ".join(sorted(state.all_champions - {state.champion}, key=int))
        later = f"; --to {others} makes a later one champion again" if others else ""
        raise DecisionRefused(f"no version was champion before the present one{later}")
    version = to or state.previous_champions[-1]
    if version == state.champion:
        raise DecisionRefused(f"version {version} is the champion already")
    if version not in state.all_champions:
        raise DecisionRefused(f"version {version} was never the champion: approve it instead")
    return Draft(event="rollback", version=version, by=by, reason=reason, evidence={"from": state.champion})


def _about(candidate: Entry, event: Event, *, by: str, reason: str) -> Draft:
    """An event that ends the wait of a candidate; its evidence names the `candidate` entry."""
    return Draft(
        event=event, version=candidate.version, by=by, reason=reason, evidence={"candidate": candidate.hash}
    )


def _person(name: str) -> str:
    """The name in one spelling.

    Raises:
        DecisionRefused: the name is empty, is that of the automatic approval, or could pass for another's.
    """
    name = spelling(name)
    problem = problem_of(name)
    if problem:
        raise DecisionRefused(f"a decision has the name of a person: {problem}")
    if name == AUTOMATIC:
        raise DecisionRefused(f"{name!r} is no person")
    return name


def _reason(text: str) -> str:
    text = " ".join(text.split())
    if not text:
        raise DecisionRefused("a decision has a reason: the reason is empty")
    return text


def _same_name(name: str, other: str) -> bool:
    """Whether two names are one; a recorded one may be that of the automatic approval."""
    return spelling(name).casefold() == spelling(other).casefold()


def _standing(last: Entry) -> str:
    """Why a version whose newest entry is `last` does not wait."""
    if last.event == "candidate":
        return "a newer candidate took its place"
    return f"it was {_PAST[last.event]} by {last.by} at {last.time}"
