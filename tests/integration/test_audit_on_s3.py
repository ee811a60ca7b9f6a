"""The decision log on a real S3 server: each entry is created once, however many write at the same time."""

import threading
from datetime import UTC, datetime

import pytest

from apo_core.decisions.approval_rule import Draft
from apo_core.decisions.audit_chain import AuditBroken, head_of
from apo_core.errors import StageFailed, StageRefused
from tasks.decisions.log import append, open_store, read_log
from tasks.workspace import Workspace

pytestmark = pytest.mark.servers


@pytest.fixture
def prefix(s3_prefix, monkeypatch):
    """The prefix of this test's logs."""
    monkeypatch.setenv("APO_AUDIT_URI", f"s3://apo/{s3_prefix}/logs")
    return f"{s3_prefix}/logs"


@pytest.fixture
def store(s3, prefix, tmp_path):
    return open_store(Workspace(tmp_path))


def say(by):
    return lambda state: Draft(
        event="candidate", version=str(len(state.last) + 1), by=by, reason="better", evidence={}
    )


def test_entries_are_read_back_in_order(store):
    written = [append(store, "my model", say("Ada")) for _ in range(3)]
    assert read_log(store, "my model") == written
    assert read_log(store, "my model", head_of(written[:2])) == written
    assert read_log(store, "my") == []  # `my` is a prefix of the other model's name
    assert store.names("my model") == [f"0000000{number}.json" for number in (1, 2, 3)]


def test_what_is_there_is_not_written_again(store):
    append(store, "m", say("Ada"))
    text = store.read("m", "00000001.json")
    assert store.create("m", "00000001.json", text)  # a retry of its own first request, whose answer was lost
    assert not store.create("m", "00000001.json", text.replace("Ada", "Eve"))
    assert store.read("m", "00000001.json") == text


def without_conditions(store):
    """Drop the condition's header, as a server that does not know it would."""

    def drop(request, **_):
        del request.headers["If-None-Match"]

    store._client.meta.events.register("before-sign.s3.PutObject", drop)
    return store


def test_a_server_that_ignores_conditions_is_refused(s3, store, prefix, tmp_path):
    first = append(store, "m", say("Ada"))
    for model in ("m", "another"):
        ignoring = without_conditions(open_store(Workspace(tmp_path)))
        with pytest.raises(StageRefused, match=rf"^s3://apo/{prefix}: the server ignores If-None-Match: "):
            append(ignoring, model, say("Bob"))
    assert read_log(store, "m") == [first]
    assert store.names("another") == []


def test_whether_conditions_are_kept_is_tried_once_a_store(s3, store, prefix):
    tried = []
    store._client.meta.events.register(
        "before-call.s3.PutObject", lambda params, **_: tried.append(params["url_path"].split("/")[-1])
    )
    append(store, "m", say("Ada"))
    append(store, "n", say("Ada"))
    assert tried == [".conditions", ".conditions", "00000001.json", "00000001.json"]
    assert s3.get_object(Bucket="apo", Key=f"{prefix}/.conditions")["Body"].read() == b"1\n"
    assert store.names("m") == ["00000001.json"]


def test_of_many_at_once_every_one_is_written_once(store):
    def write(name):
        for _ in range(5):
            append(store, "m", say(name))

    threads = [threading.Thread(target=write, args=(f"person {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = read_log(store, "m")
    assert [entry.sequence for entry in entries] == list(range(1, 21))
    assert sorted(entry.by for entry in entries) == sorted(
        f"person {number}" for number in range(4) for _ in range(5)
    )


def test_what_is_taken_away_or_changed_is_found(s3, store, prefix):
    entries = [append(store, "m", say("Ada"), now=datetime(2026, 1, 1, tzinfo=UTC)) for _ in range(3)]
    key = f"{prefix}/m/00000003.json"
    s3.delete_object(Bucket="apo", Key=key)
    with pytest.raises(AuditBroken, match="entries 3 to 3 are missing"):
        read_log(store, "m", head_of(entries))
    for damaged in (b"{}", b'{"by": "Ad\xff"}'):
        s3.put_object(Bucket="apo", Key=key, Body=damaged)
        with pytest.raises(AuditBroken, match=r"m: 00000003.json: is no entry"):
            read_log(store, "m")


def test_without_bucket_or_server_nothing_is_decided(store, monkeypatch, tmp_path):
    monkeypatch.setenv("APO_AUDIT_URI", "s3://nowhere/apo")
    with pytest.raises(StageRefused, match=r"^s3://nowhere/apo: .*NoSuchBucket"):
        append(open_store(Workspace(tmp_path)), "m", say("Ada"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(StageFailed, match=r"^s3://nowhere/apo: "):
        append(open_store(Workspace(tmp_path)), "m", say("Ada"))
