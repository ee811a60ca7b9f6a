"""The hash chain of an audit log: any later change is detected, and the entry named."""

import hashlib
import json
from dataclasses import asdict, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apo_core.decisions.audit_chain import (
    START,
    AuditBroken,
    Head,
    check_chain,
    from_json,
    head_of,
    seal,
    to_json,
)


def log(count, reason="because"):
    entries = []
    for number in range(count):
        entries.append(
            seal(
                entries,
                model="m",
                time=datetime(2026, 1, 1, 12, number, tzinfo=UTC),
                event="candidate",
                version=str(number + 1),
                by="Ada",
                reason=reason,
                evidence={"gain": 0.25, "commit": "ü"},
                nonce=str(number),
            )
        )
    return entries


def test_entries_hold_the_hash_of_the_one_before():
    first, second = log(2)
    assert (first.sequence, first.previous, second.previous) == (1, START, first.hash)
    assert head_of([first, second]) == Head(2, second.hash)
    check_chain([first, second], head_of([first]))
    check_chain([])


def test_an_entrys_hash_is_that_of_its_fields_by_sha256():
    (entry,) = log(1)
    text = (
        '{"by":"Ada","event":"candidate","evidence":{"commit":"ü","gain":0.25},"model":"m","nonce":"0",'
        f'"previous":"{START}","reason":"because","sequence":1,"time":"2026-01-01T12:00:00+00:00","version":"1"}}'
    )
    assert entry.hash == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: [e[0], replace(e[1], by="Eve"), e[2]], "entry 2 has been changed"),
        (lambda e: [e[0], e[2]], "entry 2 is missing"),
        (lambda e: [e[1], e[2]], "entry 1 is missing"),
        (lambda e: [replace(e[0], evidence={}), *e[1:]], "entry 1 has been changed"),
        (lambda e: [*log(1, "another"), *e[1:]], "entry 2 does not continue"),
    ],
)
def test_what_is_changed_or_taken_away_is_named(change, message):
    with pytest.raises(AuditBroken, match=message):
        check_chain(change(log(3)))


def test_an_end_that_is_cut_off_or_written_anew_is_seen_by_the_head():
    entries = log(3)
    with pytest.raises(AuditBroken, match="entries 3 to 3 are missing"):
        check_chain(entries[:2], head_of(entries))
    with pytest.raises(AuditBroken, match="entries 1 to 3 are missing"):
        check_chain([], head_of(entries))
    with pytest.raises(AuditBroken, match="entry 3 is not the one that the registry remembers"):
        check_chain(log(3, "another"), head_of(entries))


TEXT = st.text(st.characters(exclude_categories=["Cs"]))  # surrogates have no UTF-8


@given(TEXT, st.dictionaries(TEXT, st.floats(allow_nan=False, allow_infinity=False) | TEXT))
def test_an_entry_is_read_as_it_was_written(reason, evidence):
    entry = seal(
        [],
        model="m",
        time=datetime(2026, 1, 1, tzinfo=UTC),
        event="approved",
        version="1",
        by="Ada",
        reason=reason,
        evidence=evidence,
        nonce="n",
    )
    assert from_json(to_json(entry), "here") == entry
    check_chain([from_json(to_json(entry), "here")])


@pytest.mark.parametrize(
    "change", [lambda t: t[:-1], lambda t: t + " ", lambda t: t.replace("Ada", "Ad\\u0061")]
)
def test_another_spelling_of_an_entry_is_none(change):
    text = change(to_json(log(1)[0]))
    with pytest.raises(AuditBroken, match=r"m: 1\.json: is no entry"):
        from_json(text, "m: 1.json")


def test_an_unknown_event_or_field_is_none():
    fields = asdict(log(1)[0])
    nan = {**fields, "evidence": {"gain": float("nan")}}
    for wrong in (
        {**fields, "event": "blessed"},
        {**fields, "more": 1},
        [],
        nan,
        {**fields, "sequence": "1"},
    ):
        text = json.dumps(wrong, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        with pytest.raises(AuditBroken):
            from_json(text, "here")
