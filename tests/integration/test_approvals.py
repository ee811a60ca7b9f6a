"""Decisions on a real registry: by command, by tags, by two people at once, and by the wrong people."""

import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime, timedelta
from functools import partial

import mlflow
import pytest
from builders import ROOT, clean_env, execute

from apo_core.decisions.approval_rule import DecisionRefused, state_of
from apo_core.decisions.audit_chain import AuditBroken
from apo_core.errors import ApoError
from apo_core.system.files import combined_hash
from flows.workspaces import load_preset
from tasks.decisions import decide
from tasks.decisions.log import append, open_log, open_store, read_log
from tasks.reporting.summary import DecisionBlock, ModelBlock, Summary, refresh_summary
from tasks.tracking.registry import find
from tasks.workspace import Workspace

MODEL = "apo-test"
RULES = load_preset("ci").promotion.model_copy(update={"approval": "manual"})


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "APO_AUDIT_URI"):
        monkeypatch.delenv(name, raising=False)
    yield Workspace(tmp_path)
    mlflow.set_tracking_uri(None)


@pytest.fixture
def log(workspace):
    opened = open_log(workspace, MODEL)
    opened.client.create_registered_model(MODEL)
    return opened


@pytest.fixture
def client(log):
    return log.client


@pytest.fixture
def store(log):
    return log.store


NO_FILES = combined_hash({})  # of the versions here, whose directories do not exist


def version(log, *, started_by="Ada", **rules):
    """A new version that waits for its approval."""
    made = log.client.create_model_version(MODEL, "file:///nowhere")
    registered = find(log.client, MODEL, str(made.version))
    promotion = RULES.model_copy(update=rules)
    decide.propose(log, registered, promotion, started_by=started_by, evidence={"decision": "better: +0.2"})
    return registered.version


def aliases(client):
    return {name: str(number) for name, number in client.get_registered_model(MODEL).aliases.items()}


def say(log, number, word, by="Bob"):
    return decide.decide(log, number, word, by=by, reason="as it should be")


def test_a_candidate_is_champion_when_a_person_says_so(log, client, store):
    first = version(log)
    assert aliases(client) == {"candidate": first}
    assert say(log, first, "approve").by == "Bob"
    assert aliases(client) == {"candidate": first, "champion": first}
    assert say(log, first, "approve") is None
    second = version(log)
    assert aliases(client) == {"candidate": second, "champion": first}
    say(log, second, "reject")
    assert aliases(client) == {"champion": first}
    tags = client.get_model_version(MODEL, second).tags
    assert tags["approval"] == "rejected by Bob: as it should be"
    assert [entry.event for entry in read_log(store, MODEL)] == [
        "candidate",
        "approved",
        "candidate",
        "rejected",
    ]


def test_by_command(log, client, workspace):
    number = version(log, four_eyes=True)
    who = f"--reason 'a good one' -w {workspace.root}"
    refused = execute(f"apo approve {MODEL} {number} --by Ada {who}", workspace.root, check=False)
    assert refused.returncode == 2
    assert refused.stdout.strip().splitlines()[-1].startswith(f"error: version {number}: Ada started the run")
    assert (
        "approved by Bob (entry 2)"
        in execute(f"apo approve {MODEL} {number} --by Bob {who}", workspace.root).stdout
    )
    nobody = execute(f"apo approve {MODEL} {number} -w {workspace.root}", workspace.root, check=False)
    assert nobody.returncode == 2 and "--by" in nobody.stdout
    second = version(log)
    assert "rejected by Bob" in execute(f"apo reject {MODEL} {second} --by Bob {who}", workspace.root).stdout
    third = version(log)
    say(log, third, "approve")
    back = execute(
        f"apo rollback {MODEL} --by Cy --reason 'it is rude' -w {workspace.root}", workspace.root
    ).stdout
    assert f"version {number} is champion again" in back
    assert aliases(client)["champion"] == number
    shown = execute(f"apo audit {MODEL} -w {workspace.root}", workspace.root).stdout
    assert "7 entries, verified" in shown and "it is rude" in shown
    missing = execute(f"apo approve {MODEL} 99 --by Bob {who}", workspace.root, check=False)
    assert (missing.returncode, "has no version 99" in missing.stdout) == (2, True)
    nothing = execute(f"apo audit nobody -w {workspace.root}", workspace.root, check=False)
    assert (nothing.returncode, "nobody: no decisions are recorded here" in nothing.stdout) == (2, True)


def test_by_tags_on_mlflows_page(log, client):
    number = version(log, four_eyes=True)
    tag = partial(client.set_model_version_tag, MODEL, number)
    tag("approval.decision", "Approve")
    (line,) = decide.reconcile(log)
    assert "refused: a decision has the name of a person" in line
    assert decide.reconcile(log) == []  # a tag is acted upon once
    tag("approval.by", "Ada")
    tag("approval.reason", "I made it")
    tag("approval.decision", "approve")
    assert "refused: version 1: Ada started the run" in decide.reconcile(log)[0]
    tag("approval.by", "Bob")
    tag("approval.decision", "approve")
    assert decide.reconcile(log) == [f"{MODEL} version {number}: taken up: approved"]
    assert client.get_model_version(MODEL, number).tags["approval.decision"] == "taken up: approved"
    tag("approval.decision", "maybe")
    assert "refused: 'maybe' is neither approve nor reject" in decide.reconcile(log)[0]
    assert aliases(client)["champion"] == number


def test_a_tag_that_cannot_be_taken_up_is_in_nobodys_way(log, client):
    """The tag of a version that now holds another policy."""
    first = find(client, MODEL, str(client.create_model_version(MODEL, "file:///a").version))
    tag = partial(client.set_model_version_tag, MODEL, first.version)
    tag("policy_sha256", NO_FILES)
    decide.propose(log, first, RULES, started_by="Ada", evidence={"policy_sha256": NO_FILES})
    tag("policy_sha256", "b" * 64)
    version(log, approval_hours=1e-9)
    for name, value in {"by": "Bob", "reason": "good", "decision": "approve"}.items():
        tag(f"approval.{name}", value)
    refused, expired, moved = decide.reconcile(log)
    assert "refused: apo-test: version 1 is another policy than the one" in refused
    assert "version 2: expired: nobody decided before" in expired
    assert moved == f"{MODEL}: candidate is no version"
    assert decide.reconcile(log) == []


def test_what_nobody_decides_on_expires(log, client):
    number = version(log, approval_hours=1e-9)
    with pytest.raises(DecisionRefused, match="the time to decide was over"):
        say(log, number, "approve")
    assert "expired: nobody decided before" in decide.reconcile(log)[0]
    assert aliases(client) == {}
    assert decide.reconcile(log) == []


def test_what_expired_is_proposed_again_and_approved(log, client, store):
    number = version(log, approval_hours=1e-9)
    registered = find(client, MODEL, number)

    def again(started_by, **rules):
        promotion = RULES.model_copy(update=rules)
        decide.propose(log, registered, promotion, started_by=started_by, evidence={"decision": "yes"})

    again("Bob", approval_hours=1e-9)  # the first proposal is expired, but not yet closed
    decide.reconcile(log)
    assert aliases(client) == {}
    again("Bob", four_eyes=True)
    again("Cy")
    entries = read_log(store, MODEL)
    assert [entry.event for entry in entries] == ["candidate", "expired"] * 2 + ["candidate"]
    assert aliases(client) == {"candidate": number}
    assert client.get_model_version(MODEL, number).tags["approval"] == "candidate by Bob: yes"
    with pytest.raises(DecisionRefused, match="Ada started the run"):
        say(log, number, "approve", by="Ada")
    say(log, number, "approve", by="Bob")
    assert aliases(client) == {"candidate": number, "champion": number}
    assert client.get_model_version(MODEL, number).tags["approval"] == "approved by Bob: as it should be"


def test_what_was_superseded_waits_again_when_the_other_one_is_decided_on(log, client):
    first, second = version(log), version(log)
    again = partial(decide.propose, log, find(client, MODEL, first), RULES, started_by="Ada")
    again(evidence={})
    assert aliases(client) == {"candidate": second}
    say(log, second, "reject")
    assert aliases(client) == {}
    again(evidence={})
    assert aliases(client) == {"candidate": first}
    say(log, first, "approve")
    assert aliases(client) == {"candidate": first, "champion": first}


def summary_of(number, outcome):
    """The part of a run's summary that is compared with the registry."""
    model = ModelBlock(name=MODEL, version=number, aliases=[])
    return Summary.model_construct(model=model, decision=DecisionBlock(outcome=outcome, reason="why"))


def test_an_unchanged_run_goes_to_the_registry_for_what_was_not_decided_in_time(log, client):
    number = version(log, approval_hours=1e-9)
    summary = summary_of(number, "promote")
    assert not refresh_summary(log, summary)[1]
    decide.reconcile(log)
    refreshed, holds = refresh_summary(log, summary)
    assert (refreshed.approval.event, holds) == ("expired", False)
    held = summary_of(number, "hold")  # a better version has been registered since
    assert refresh_summary(log, held)[1]
    decide.propose(log, find(client, MODEL, number), RULES, started_by="Ada", evidence={})
    refreshed, holds = refresh_summary(log, summary)
    assert refreshed.approval.waits and holds


def test_an_alias_that_was_moved_by_hand_goes_back(log, client):
    first = version(log)
    say(log, first, "approve")
    second = version(log)
    client.set_registered_model_alias(MODEL, "champion", second)
    assert decide.reconcile(log) == [f"{MODEL}: champion is version {first}"]
    assert aliases(client)["champion"] == first


def test_a_decision_whose_process_was_killed_before_the_alias_moved_is_completed(log, client, store):
    from apo_core.decisions import approval_rule

    number = version(log)
    now = datetime.now(UTC)
    append(
        store,
        MODEL,
        lambda state: approval_rule.decide(
            state, number, "approve", by="Bob", account=None, reason="ok", now=now
        ),
    )
    assert "champion" not in aliases(client)
    assert decide.reconcile(log) == [f"{MODEL}: champion is version {number}"]


def test_a_changed_log_is_found_and_nothing_follows_it(log, client, store, workspace):
    number = version(log)
    say(log, number, "approve")
    second = version(log)
    file = store.root / MODEL / "00000002.json"
    original = file.read_text()
    file.write_text(original.replace('"by":"Bob"', '"by":"Eve"'))
    shown = execute(f"apo audit {MODEL} -w {workspace.root}", workspace.root, check=False)
    assert (shown.returncode, "entry 2 has been changed" in shown.stdout) == (2, True)
    before = aliases(client)
    with pytest.raises(AuditBroken, match="entry 2 has been changed"):
        say(log, second, "approve")
    file.write_text(original)
    (store.root / MODEL / "00000003.json").unlink()
    with pytest.raises(AuditBroken, match="the log has been cut off"):
        say(log, second, "approve")
    assert aliases(client) == before


def test_a_version_that_is_gone_is_not_rolled_back_to(log, client, store):
    for _ in range(2):
        say(log, version(log), "approve")
    client.delete_model_version(MODEL, "1")
    with pytest.raises(ApoError, match="has no version 1"):
        decide.roll_back(log, None, by="Bob", reason="it is bad")
    assert len(read_log(store, MODEL)) == 4


def test_a_version_that_is_gone_is_in_nobodys_way(log, client):
    """The deleted versions are, in turn, one rolled back from, one that waits, and the champion."""
    for _ in range(2):
        say(log, version(log), "approve")
    decide.roll_back(log, None, by="Bob", reason="it is bad")
    client.delete_model_version(MODEL, "2")
    waiting = version(log)
    client.delete_model_version(MODEL, waiting)
    assert decide.reconcile(log) == []
    assert aliases(client) == {"champion": "1"}
    with pytest.raises(ApoError, match=f"has no version {waiting}"):
        say(log, waiting, "approve")
    assert say(log, waiting, "reject").event == "rejected"
    client.delete_model_version(MODEL, "1")
    assert log.sync() == []
    last = version(log)
    say(log, last, "approve")
    assert aliases(client) == {"candidate": last, "champion": last}


def test_a_number_that_is_given_again_is_not_the_version_that_was_approved(log, client):
    registered = find(client, MODEL, str(client.create_model_version(MODEL, "file:///a").version))
    client.set_model_version_tag(MODEL, registered.version, "policy_sha256", NO_FILES)
    evidence = {"policy_sha256": NO_FILES}
    decide.propose(log, registered, RULES, started_by="Ada", evidence=evidence)
    say(log, registered.version, "approve")
    client.set_model_version_tag(MODEL, registered.version, "policy_sha256", "b" * 64)
    (line, _) = decide.reconcile(log)
    assert line == f"{MODEL}: champion is no version: version 1 is gone, or holds another policy now"
    assert aliases(client) == {}
    with pytest.raises(ApoError, match="version 1 is another policy than the one that was proposed"):
        decide.propose(log, registered, RULES, started_by="Ada", evidence=evidence)


def test_a_rollback_whose_process_was_killed_before_the_alias_moved_is_completed(log, client, store):
    from apo_core.decisions import approval_rule

    for _ in range(2):
        say(log, version(log), "approve")
    back = partial(approval_rule.roll_back, to=None, champion="2", by="Bob", reason="it is bad")
    append(store, MODEL, back)
    assert decide.roll_back(log, None, by="Bob", reason="it is bad") is None
    assert aliases(client)["champion"] == "1"
    assert len(read_log(store, MODEL)) == 5


RIVAL = """
    import sys, time
    from tasks.decisions.decide import decide
    from apo_core.decisions.approval_rule import DecisionRefused
    from tasks.decisions.log import open_log
    from tasks.workspace import Workspace

    name, word, root = sys.argv[1:]
    log = open_log(Workspace.at(root), "apo-test")
    print("ready", flush=True)
    for line in sys.stdin:
        at, _, number = line.partition(" ")
        time.sleep(max(0, float(at) - time.time()))  # both rivals decide at the same instant
        try:
            entry = decide(log, number.strip(), word, by=name, reason="first")
            print("won" if entry else "again", flush=True)
        except DecisionRefused as refusal:
            print(f"refused: {refusal}", flush=True)
"""


@pytest.mark.parametrize(
    ("words", "times"),
    [
        (("approve", "reject"), 8),
        pytest.param(("approve", "reject"), 50, marks=pytest.mark.production),
        pytest.param(("approve", "approve"), 50, marks=pytest.mark.production),
    ],
)
def test_of_two_decisions_at_once_one_wins(log, client, store, workspace, words, times):
    rivals = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(RIVAL), name, word, str(workspace.root)],
            env=clean_env() | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, word in zip(("Bob", "Cy"), words, strict=True)
    ]
    try:
        assert [rival.stdout.readline() for rival in rivals] == ["ready\n"] * 2
        winners = []
        for _ in range(times):
            number = version(log)
            at = time.time() + 0.02
            for rival in rivals:
                rival.stdin.write(f"{at} {number}\n")
                rival.stdin.flush()
            answers = [rival.stdout.readline() for rival in rivals]
            assert sorted(answer.split(":")[0].strip() for answer in answers) == ["refused", "won"], answers
            winners.append(answers.index("won\n"))
            last = [entry for entry in read_log(store, MODEL) if entry.version == number]
            assert [entry.by for entry in last] == ["Ada", ("Bob", "Cy")[winners[-1]]]
            assert aliases(client).get("champion") == state_of(read_log(store, MODEL)).champion
    finally:
        for rival in rivals:
            rival.stdin.close()
            rival.wait(timeout=30)
    assert len(read_log(store, MODEL)) == 2 * times
    assert decide.reconcile(log) == []


def test_rules_cannot_be_loosened_afterwards(log, client, store):
    """The rules are those recorded in the proposal's entry, whatever the configuration says later."""
    number = version(log, four_eyes=True)
    (entry,) = read_log(store, MODEL)
    assert entry.evidence["four_eyes"] is True
    left = datetime.fromisoformat(entry.evidence["expires"]) - datetime.now(UTC)
    assert timedelta(hours=71.9) < left < timedelta(hours=72)
    registered = find(client, MODEL, number)
    loose = RULES.model_copy(update={"approval": "auto", "four_eyes": False})
    decide.propose(log, registered, loose, started_by="Bob", evidence={})
    assert read_log(store, MODEL) == [entry]
    second = version(log, approval="auto")
    assert "champion" not in aliases(client)
    with pytest.raises(DecisionRefused, match="started the run"):
        say(log, second, "approve", by="Ada")


def test_the_audit_lies_where_the_environment_says(workspace, monkeypatch, tmp_path):
    assert open_store(workspace).root == workspace.state / "audit"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(ApoError, match="MLFLOW_TRACKING_URI is a server, and APO_AUDIT_URI is not set"):
        open_store(workspace)
    for address, root in (
        (str(tmp_path / "elsewhere"), tmp_path / "elsewhere"),
        ("logs", workspace.root / "logs"),
    ):
        monkeypatch.setenv("APO_AUDIT_URI", address)
        assert open_store(workspace).root == root
    for wrong in ("s3://", "S3://bucket/prefix", "file:///tmp"):
        monkeypatch.setenv("APO_AUDIT_URI", wrong)
        with pytest.raises(ApoError, match=r"is not of the form s3://|nor of the form s3://bucket/prefix"):
            open_store(workspace)
