"""The order in which decisions may follow one another: a table of attempts."""

from datetime import UTC, datetime, timedelta

import pytest

from apo_core.decisions.approval_rule import (
    AUTOMATIC,
    ChampionChanged,
    DecisionRefused,
    approve_automatically,
    decide,
    expire,
    expired_undecided,
    may_be_proposed,
    propose,
    roll_back,
    state_of,
)
from apo_core.decisions.audit_chain import seal

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


class Log:
    """A log to which decisions are added if the rules allow them."""

    def __init__(self):
        self.entries = []

    @property
    def state(self):
        return state_of(self.entries)

    def add(self, draft):
        if draft is not None:
            entry = seal(self.entries, model="m", time=NOW, nonce="", **vars(draft))
            self.entries.append(entry)
        return draft

    def candidate(
        self, version, *, four_eyes=False, by_person=True, started_by="Ada", account=None, **evidence
    ):
        return self.add(
            propose(
                self.state,
                version,
                started_by=started_by,
                account=account,
                by_person=by_person,
                four_eyes=four_eyes,
                expires=LATER,
                evidence={"decision": "better"} | evidence,
            )
        )

    def say(self, version, decision, by="Bob", now=NOW, reason="looks right", account=None):
        draft = decide(self.state, version, decision, by=by, account=account, reason=reason, now=now)
        return self.add(draft)

    def back(self, to=None, *, reason="it is bad", champion=...):
        champion = self.state.champion if champion is ... else champion
        return self.add(roll_back(self.state, to, champion=champion, by="Bob", reason=reason))


@pytest.fixture
def log():
    empty_log = Log()
    empty_log.candidate("1")
    return empty_log


def test_only_an_approval_moves_the_champion(log):
    assert (log.state.champion, log.state.pending.version) == (None, "1")
    log.say("1", "approve")
    assert (log.state.champion, log.state.pending) == ("1", None)
    log.candidate("2")
    assert (log.state.champion, log.state.pending.version) == ("1", "2")
    log.say("2", "reject")
    assert (log.state.champion, log.state.pending) == ("1", None)


def test_what_was_compared_with_another_champion_is_not_proposed(log):
    with pytest.raises(ChampionChanged, match="version 2 was compared with champion 1; now it is none"):
        log.candidate("2", champion="1")
    log.say("1", "approve")
    with pytest.raises(ChampionChanged, match="compared with champion none; now it is 1"):
        log.candidate("2", champion=None)
    assert log.candidate("2", champion="1").evidence["champion"] == "1"
    assert log.candidate("2", champion="1") is None  # it waits already
    with pytest.raises(ChampionChanged):
        log.candidate("2", champion="0")  # else it would be approved without a comparison


def test_the_newest_candidate_stays_the_candidate_when_it_is_approved_and_not_when_it_is_rejected(log):
    log.say("1", "approve")
    assert log.state.candidate == "1"
    log.candidate("2")
    assert log.state.candidate == "2"
    log.say("2", "reject")
    assert log.state.candidate is None


def test_a_rollback_takes_the_alias_of_the_candidate_from_the_version_it_goes_back_from_alone(log):
    for version in ("1", "2", "3"):
        log.candidate(version)
        log.say(version, "approve")
    log.back()
    assert (log.state.champion, log.state.candidate) == ("2", None)
    log.candidate("4")
    log.back(reason="this one too")
    assert (log.state.champion, log.state.candidate) == ("1", "4")


def test_in_an_empty_log_nothing_waits():
    empty_log = Log()
    assert expire(empty_log.state, LATER) is None
    assert approve_automatically(empty_log.state, "1", NOW) is None
    assert not expired_undecided(empty_log.state, "1", LATER)
    with pytest.raises(DecisionRefused, match="no version was champion before"):
        empty_log.back()


def test_every_entry_says_why(log):
    assert log.entries[0].reason == "better"
    assert log.say("1", "approve", reason=" it  looks\nright ").reason == "it looks right"
    draft = propose(
        log.state,
        "2",
        started_by="Ada",
        by_person=False,
        four_eyes=False,
        expires=LATER,
        evidence={},
        account=None,
    )
    assert log.add(draft).reason == "a candidate"
    assert expire(log.state, LATER).reason == f"nobody decided before {LATER.isoformat()}"
    automatic = Log()
    automatic.candidate("1", by_person=False)
    assert approve_automatically(automatic.state, "1", NOW).reason == "better"


def test_a_rollback_names_the_version_that_it_goes_back_from(log):
    log.say("1", "approve")
    log.candidate("2")
    log.say("2", "approve")
    assert log.back().evidence == {"from": "2"}


def test_the_same_word_of_the_same_person_changes_nothing_and_any_other_is_refused(log):
    log.say("1", "approve")
    assert log.say("1", "approve", by=" bob ") is None
    with pytest.raises(DecisionRefused, match=r"version 1 does not wait .* approved by Bob at 2026-01-01"):
        log.say("1", "approve", by="Eve")
    with pytest.raises(DecisionRefused, match="it was approved by Bob"):
        log.say("1", "reject")
    assert len(log.entries) == 2


def test_four_eyes(log):
    log.candidate("2", four_eyes=True)
    with pytest.raises(DecisionRefused, match=r"Ada started the run that made it, and ADA may be.*four_eyes"):
        log.say("2", "approve", by=" ADA")
    with pytest.raises(DecisionRefused, match="started the run"):
        log.say("2", "approve", by="Ａda")  # full width: the same to a reader
    log.say("2", "reject", by="Ada")  # whoever made it may withdraw it
    log.candidate("3", four_eyes=True)
    assert log.say("3", "approve", by="Bob").event == "approved"
    log.candidate("4", started_by="Ada  Lovelace")
    with pytest.raises(DecisionRefused, match="started the run"):
        log.say("4", "approve", by="ada lovelace")
    with pytest.raises(DecisionRefused, match="may be the same person"):
        log.say("4", "approve", by="Ada L.")
    with pytest.raises(DecisionRefused, match="mixes letters"):
        log.say("4", "approve", by="\u0410nna")
    with pytest.raises(DecisionRefused, match="has the name of a person"):
        log.candidate("5", started_by=" ")


def test_four_eyes_with_accounts_are_two_accounts(log):
    log.candidate("2", four_eyes=True, account="ada-l")
    with pytest.raises(DecisionRefused, match=r"account ada-l .* and this decision has the same; another"):
        log.say("2", "approve", by="Bob", account="ada-l")
    with pytest.raises(DecisionRefused, match=r"this decision has none, as from a form.*`apo approve`"):
        log.say("2", "approve", by="Bob")
    with pytest.raises(DecisionRefused, match="Ada started the run that made it, and Ada may be"):
        log.say("2", "approve", by="Ada", account="bob")  # names are compared as well
    assert log.say("2", "approve", by="Bob", account="bob").event == "approved"
    log.candidate("3", four_eyes=True, account="ada-l")
    assert log.say("3", "reject", by="Bob").event == "rejected"  # a form may


def test_an_account_with_the_name_of_who_started_a_scheduled_run_is_theirs(log):
    log.candidate("2", four_eyes=True, started_by="Ada Lovelace", account="service")
    with pytest.raises(DecisionRefused, match=r"Ada Lovelace started .* and account ada\.lovelace may be"):
        log.say("2", "approve", by="Bob", account="ada.lovelace")
    assert log.say("2", "approve", by="Bob", account="bob").event == "approved"


def test_accounts_do_not_count_where_four_eyes_are_not_required_or_the_run_had_none(log):
    log.candidate("2", account="ada")
    assert log.say("2", "approve", by="Bob", account="ada").event == "approved"
    log.candidate("3", four_eyes=True)
    assert log.say("3", "approve", by="Bob").event == "approved"


def test_the_account_that_made_a_version_stays_that_of_its_maker_if_it_is_opened_again():
    log = Log()
    log.candidate("1", four_eyes=True, account="ada-l")
    log.add(expire(log.state, LATER))
    log.candidate("1", started_by="Bob", account="bob")
    with pytest.raises(DecisionRefused, match="account ada-l"):
        log.say("1", "approve", by="Cy", account="ada-l")
    assert log.say("1", "approve", by="Bob", account="bob").event == "approved"


def test_an_entry_of_before_accounts_is_decided_by_names(log):
    log.candidate("2", four_eyes=True)
    entry = log.entries.pop()
    del entry.evidence["started_by_account"]
    log.entries.append(entry)
    assert log.say("2", "approve", by="Bob", account="bob").event == "approved"


def test_what_expires_is_closed(log):
    assert expire(log.state, NOW) is None
    with pytest.raises(DecisionRefused, match="the time to decide was over"):
        log.say("1", "approve", now=LATER)
    assert log.add(expire(log.state, LATER)).event == "expired"
    assert expire(log.state, LATER) is None
    with pytest.raises(DecisionRefused, match="it was closed by the clock"):
        log.say("1", "approve")


def test_a_newer_candidate_takes_the_place_of_one_that_waits(log):
    log.candidate("2")
    with pytest.raises(DecisionRefused, match="version 1 does not wait for a decision: a newer candidate"):
        log.say("1", "approve")
    log.say("2", "approve")
    assert log.state.champion == "2"


# What has been said of version 1, which has been proposed, and whether it may be proposed again.
HISTORIES = {
    "waits": ([], False),
    "expired": (["expire"], True),
    "approved": (["approve 1"], False),
    "rejected": (["reject 1"], False),
    "superseded by one that waits": (["propose 2"], False),
    "superseded by one that was approved": (["propose 2", "approve 2"], True),
    "superseded by one that was rejected": (["propose 2", "reject 2"], True),
    "superseded by one that expired": (["propose 2", "expire"], True),
    "superseded, and then others": (["propose 2", "propose 3", "approve 3"], True),
    "superseded, and then others that wait": (["propose 2", "approve 2", "propose 3"], False),
    "expired, and another waits": (["expire", "propose 2"], False),
    "expired, and another was rejected": (["expire", "propose 2", "reject 2"], True),
    "rejected, and others expired": (["reject 1", "propose 2", "expire"], False),
    "rolled back from": (["approve 1", "propose 2", "approve 2", "propose 3", "approve 3", "back"], False),
    "opened again": (["expire", "propose 1"], False),
    "opened again and expired again": (["expire", "propose 1", "expire"], True),
    "opened again and rejected": (["expire", "propose 1", "reject 1"], False),
    "opened again and approved": (["expire", "propose 1", "approve 1"], False),
    "opened again and superseded": (["expire", "propose 1", "propose 2", "reject 2"], True),
}


@pytest.mark.parametrize("history", HISTORIES)
def test_what_nobody_has_decided_on_is_proposed_again_where_nothing_else_waits(log, history):
    steps, again = HISTORIES[history]
    for step in steps:
        word, _, version = step.partition(" ")
        if word == "propose":
            assert log.candidate(version)
        elif word == "expire":
            assert log.add(expire(log.state, LATER))
        elif word == "back":
            assert log.back()
        else:
            assert log.say(version, word)
    before = log.state
    assert may_be_proposed(before, "1") is again
    draft = log.candidate("1")
    assert (draft is not None) is again
    if not again:
        assert log.state == before
        return
    assert (log.state.pending.version, log.state.candidate) == ("1", "1")
    assert log.state.champion == before.champion
    assert log.say("1", "approve").evidence == {"candidate": log.entries[-2].hash}
    assert log.state.champion == "1"


def test_who_made_a_version_does_not_approve_it_after_another_had_it_opened_again():
    log = Log()
    log.candidate("1", four_eyes=True)
    log.add(expire(log.state, LATER))
    assert log.candidate("1", started_by="Bob").by == "Bob"
    with pytest.raises(DecisionRefused, match="Ada started the run that made it"):
        log.say("1", "approve", by="Ada")
    assert log.say("1", "approve", by="Bob").event == "approved"


def test_the_time_to_decide_runs_out_where_nothing_else_waits(log):
    assert [expired_undecided(log.state, version, NOW) for version in ("1", "7")] == [False, False]
    assert expired_undecided(log.state, "1", LATER)  # though it has not been closed yet
    log.add(expire(log.state, LATER))
    assert expired_undecided(log.state, "1", NOW)
    log.candidate("2")
    assert not expired_undecided(log.state, "1", NOW)
    assert expired_undecided(log.state, "1", LATER)  # the other's is over, too
    log.say("2", "approve")
    assert expired_undecided(log.state, "1", NOW)
    assert not expired_undecided(log.state, "2", LATER)
    log.candidate("3")
    log.candidate("4")
    log.say("4", "reject")
    assert not expired_undecided(log.state, "3", LATER)  # superseded, not expired


@pytest.mark.parametrize(("by", "reason"), [("", "why"), ("  ", "why"), ("Bob", " \n"), (AUTOMATIC, "why")])
def test_nobody_decides_nothing(log, by, reason):
    for word in ("approve", "reject"):
        with pytest.raises(DecisionRefused, match=r"name of a person|has a reason|is no person"):
            log.say("1", word, by=by, reason=reason)
    with pytest.raises(DecisionRefused):
        roll_back(log.state, None, champion=None, by=by, reason=reason)


def test_unknown_versions_are_refused(log):
    with pytest.raises(DecisionRefused, match="version 7 was never a candidate"):
        log.say("7", "approve")
    with pytest.raises(DecisionRefused, match="version 1 was never the champion"):
        log.back("1")


def test_rolling_back_goes_further_back_every_time_and_any_former_champion_may_be_named(log):
    log.say("1", "approve")
    with pytest.raises(DecisionRefused, match="no version was champion before"):
        log.back()
    for version in ("2", "3"):
        log.candidate(version)
        log.say(version, "approve")
    assert log.back().version == "2"
    assert log.back(reason="this one too").version == "1"
    with pytest.raises(DecisionRefused, match="no version was champion before"):
        log.back()
    with pytest.raises(DecisionRefused, match="version 1 is the champion already"):
        log.back("1")
    assert log.back("3").version == "3"
    assert log.state.champion == "3"
    assert log.back(reason="no, it is bad").version == "1"


def test_who_repeats_a_rollback_goes_back_once(log):
    for version in ("1", "2", "3"):
        log.candidate(version)
        log.say(version, "approve")
    assert log.back().version == "2"
    assert log.back() is None
    assert log.back("2") is None
    assert log.state.champion == "2"
    assert log.back("1").version == "1"  # another version is no repetition, whatever the reason


def test_a_rollback_is_of_the_champion_that_was_looked_at(log):
    log.say("1", "approve")
    log.candidate("2")
    log.say("2", "approve")
    log.candidate("3")
    log.say("3", "approve")  # while somebody wants to be rid of 2
    with pytest.raises(DecisionRefused, match="version 3 has become the champion meanwhile"):
        log.back(champion="2")


def test_without_a_person_to_ask_the_configuration_approves():
    log = Log()
    log.candidate("1", by_person=False)
    assert approve_automatically(log.state, "1", LATER) is None  # the time is over
    draft = log.add(approve_automatically(log.state, "1", NOW))
    assert (draft.by, log.state.champion) == (AUTOMATIC, "1")
    assert approve_automatically(log.state, "1", NOW) is None


def test_what_waits_for_a_person_is_not_approved_by_a_configuration(log):
    assert approve_automatically(log.state, "1", NOW) is None


def test_the_rules_of_a_model_become_stricter_only():
    log = Log()
    log.candidate("1", by_person=False)
    log.candidate("2", four_eyes=True)
    log.candidate("3", by_person=False, four_eyes=False)
    rules = [(entry.evidence["by_person"], entry.evidence["four_eyes"]) for entry in log.entries]
    assert rules == [(False, False), (True, True), (True, True)]
    assert approve_automatically(log.state, "3", NOW) is None


def test_the_champion_that_was_rolled_back_from_stays_out_until_it_is_named(log):
    log.say("1", "approve")
    log.candidate("2")
    log.say("2", "approve")
    log.back()
    assert approve_automatically(log.state, "2", NOW) is None
    assert log.state.candidate is None
    assert log.candidate("2") is None
    assert log.state.champion == "1"


def test_who_approves_what_was_approved_automatically_is_shown_by_whom():
    log = Log()
    log.candidate("1", by_person=False)
    log.add(approve_automatically(log.state, "1", NOW))
    with pytest.raises(
        DecisionRefused, match=rf"does not wait for a decision: it was approved by {AUTOMATIC}"
    ):
        log.say("1", "approve")
