import io
from types import SimpleNamespace

import pytest
from botocore.response import StreamingBody

from tasks.storage import publish
from tasks.storage.checksums import checksums_of
from tasks.storage.transfer import state_of


@pytest.mark.parametrize(("read", "state"), [(False, "same"), (True, "other")])
def test_a_server_remembers_its_checksum_of_an_object_that_was_damaged_since(tmp_path, read, state):
    (tmp_path / "weights").write_bytes(b"good")
    checksums = checksums_of(tmp_path / "weights")
    client = SimpleNamespace(
        head_object=lambda **_: {"ContentLength": 4, "ChecksumSHA256": checksums.s3_sha256},
        get_object=lambda **_: {"Body": StreamingBody(io.BytesIO(b"gooe"), 4)},
    )
    assert state_of(client, "apo", "weights", checksums, read=read) == state


def test_publishing_reads_what_is_there(tmp_path, monkeypatch):
    asked = []

    def note(*_, read=False):
        asked.append(read)
        return "same"

    monkeypatch.setattr(publish, "state_of", note)
    location = SimpleNamespace(client=None, bucket="apo", prefix="m/1/")
    publish._send_missing(location, "weights", tmp_path, None, True, lambda line: None)
    assert asked == [True]
