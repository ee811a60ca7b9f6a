"""What a person sees who is to decide on a version, and what `apo lineage` says in words."""

from apo_core.audit import START, Entry
from tasks.description import as_markdown
from tasks.lineage import decisions_in_words, metrics_in_words

EVALUATION = {
    "reference": {"pass@1": 0.43212345},
    "policy": {"pass@1": 0.70598765},
    "gain": 0.2738642,
    "gain_ci95": [0.25012345, 0.29812345],
}


def entry(event, by, sequence, reason="why", **evidence):
    time = f"2026-11-0{sequence}T12:34:56.789+00:00"
    return Entry("m", sequence, time, event, "2", by, reason, evidence, "nonce", START, "a1b2" * 16)


CANDIDATE = entry(
    "candidate",
    "Bob",
    1,
    "better than the reference: pass@1 +0.274, 95% interval +0.250 to +0.298",
    started_by="Bob",
    expires="2026-11-08T13:00:07.123+01:00",
)


def test_what_is_to_be_decided_comes_first_and_hashes_last():
    lineage = {
        "version": "m/2",
        **decisions_in_words([CANDIDATE]),
        **metrics_in_words(EVALUATION),
        "value table": "md5 1234",
        "run": "5678",
    }
    shown = as_markdown("m version 2", CANDIDATE, lineage, {"MLflow run": "http://host/#/1"})
    assert shown.splitlines() == [
        r"**m version 2** waits for a decision until 2026-11-08 12:00 UTC: "
        "better than the reference: pass@1 +0.274, 95% interval +0.250 to +0.298",
        "",
        "- started by: Bob",
        "- reference pass@1: 0.432",
        "- policy pass@1: 0.706",
        "- gain over the reference: +0.274 (95% +0.250 to +0.298)",
        "",
        "[MLflow run](http://host/#/1)",
        "",
        "Made from:",
        "",
        "- value table: md5 1234",
        "- run: 5678",
    ]


def test_a_name_is_no_markup():
    shown = as_markdown("m version 2", CANDIDATE, {"started by": "[Bob](http://elsewhere)"}, {})
    assert r"- started by: \[Bob\](http://elsewhere)" in shown.splitlines()


def test_an_approval_is_told_once():
    approved = entry("approved", "Ada", 2)
    told = "approved by Ada at 2026-11-02 12:34 UTC: why (entry 2, a1b2a1b2a1b2)"
    assert decisions_in_words([CANDIDATE, approved]) == {"started by": "Bob", "approval": told}
    last = decisions_in_words([CANDIDATE, approved, entry("rollback", "Cy", 3)])
    assert last["approval"] == told
    assert last["last decision"].startswith("rollback by Cy at 2026-11-03 ")
    assert decisions_in_words([]) == {}
