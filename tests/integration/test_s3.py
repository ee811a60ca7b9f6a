"""Prompts on S3, against a real server on loopback."""

import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from builders import execute, run_stage
from service_fixtures import s3_env, temporary_services

from apo_core.config.file import set_params
from apo_core.errors import StageFailed, StageRefused
from apo_core.system.files import read_json
from apo_core.system.loopback import free_port
from apo_core.tables import PROMPTS, read_table
from flows.workspaces import preset_text
from tasks.prompts import s3_object
from tasks.prompts.mirrors import fetch_mirrors
from tasks.stages import prepare
from tasks.storage.s3_client import connect, list_objects
from tasks.workspace import Workspace

pytestmark = pytest.mark.servers

TRAIN = b'{"question": "1+1=", "answer": "#### 2"}\n'
TEST = b"question,answer\n2+2=,#### 4\n"


@pytest.fixture
def upload(s3, s3_prefix):
    """Writes objects below a prefix of this test's own."""

    def put(key, body):
        s3.put_object(**put.key(key), Body=body)

    put.prefix = f"s3://apo/{s3_prefix}/"
    put.key = lambda key: {"Bucket": "apo", "Key": f"{s3_prefix}/{key}"}
    return put


@pytest.fixture
def workspace(upload, tmp_path):
    """A workspace whose prompts are on the S3 server."""
    return workspace_of(upload, tmp_path, "deep/train.jsonl", "test.csv")


def workspace_of(upload, directory, train, test):
    workspace = Workspace(directory)
    workspace.params.write_text(preset_text("gsm8k-smollm2"))
    entries = [f"data.train_files=[{upload.prefix}{train}]", f"data.eval_files=[{upload.prefix}{test}]"]
    set_params(workspace.params, entries)
    upload("deep/train.jsonl", TRAIN)
    upload("test.csv", TEST)
    return workspace


def fetched(workspace):
    lines = []
    fetch_mirrors(workspace.raw_prompts, set_params(workspace.params, []).data, lines.append)
    return [line.rpartition(": ")[2] for line in lines]


def mirror_of(workspace, upload, path):
    return workspace.raw_prompts / "remote/s3" / upload.prefix.removeprefix("s3://") / path


def test_only_what_has_changed_is_fetched_and_stages_read_the_mirror(workspace, upload, s3):
    output = execute("apo fetch-prompts", workspace.root).stdout
    assert f"{upload.prefix}deep/train.jsonl: fetched" in output
    assert fetched(workspace) == ["unchanged", "unchanged"]
    upload("deep/train.jsonl", TRAIN + TRAIN.replace(b"1+1", b"3+3"))
    assert fetched(workspace) == ["fetched", "unchanged"]
    run_stage(prepare, workspace)
    prompts = read_table(workspace.prompts, PROMPTS)
    assert list(prompts["prompt"]) == ["1+1=", "3+3=", "2+2="]
    assert list(prompts["set"]) == ["train", "train", "test"]
    mirror = mirror_of(workspace, upload, "deep/train.jsonl")
    record = read_json(mirror.with_name("train.jsonl.record"))
    etag = s3.head_object(**upload.key("deep/train.jsonl"))["ETag"].strip('"')
    assert (record["version"], record["bytes"]) == (etag, mirror.stat().st_size)


def test_what_is_not_there_is_refused_in_one_line(workspace, upload, s3):
    s3.delete_object(**upload.key("test.csv"))
    with pytest.raises(StageRefused, match=rf"^{upload.prefix}test.csv: .*404"):
        fetched(workspace)
    assert (
        last_line(workspace)
        == f"error: {upload.prefix}test.csv: there is no such object, or no such bucket (404)"
    )


def last_line(workspace, **environment):
    """The error line of a fetch that exits with status 2, and whose other lines are about fetching only."""
    variables = " ".join(f"{name}={value}" for name, value in environment.items())
    done = execute(f"env {variables} apo fetch-prompts", workspace.root, check=False)
    assert done.returncode == 2, done.stdout
    *others, last = done.stdout.strip().splitlines()
    assert all(re.match("s3://.*: (un|fet)ch", line) for line in others), done.stdout
    return last


@pytest.mark.parametrize("entry", ["deep/train.jsonl", ""])
def test_wrong_credentials_buckets_and_addresses_are_one_line(workspace, upload, entry):
    set_params(
        workspace.params, [f"data.train_files=[{upload.prefix}{entry}]", "data.eval_files=[s3://other/a.csv]"]
    )
    before = sorted(workspace.root.rglob("*"))
    address = f"error: {upload.prefix}{entry}: "
    for variables, said in (
        (
            {"AWS_SECRET_ACCESS_KEY": "wrong"},
            r"(wrong credentials|The request signature).*\((403|Signature.*)\)",
        ),
        (
            {"AWS_ACCESS_KEY_ID": "wrong"},
            r"(wrong credentials|The access key|The AWS access key).*\((403|Inv.*)\)",
        ),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "HOME": "/nowhere"}, "Unable to locate cred"),
        ({"AWS_ENDPOINT_URL": "nonsense"}, "Invalid endpoint: nonsense"),
        (
            {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}", "AWS_MAX_ATTEMPTS": "1"},
            'Could not connect to the endpoint URL: "http://127.0.0.1:',
        ),
    ):
        assert re.match(re.escape(address) + said, line := last_line(workspace, **variables)), line
    assert [path for path in sorted(workspace.root.rglob("*")) if "/.apo" not in str(path)] == before
    assert last_line(workspace) == "error: s3://other/a.csv: there is no such object, or no such bucket (404)"
    set_params(workspace.params, ["data.eval_files=[s3://other/all/]"])
    assert re.match(r"error: s3://other/all/: .*bucket.* \(NoSuchBucket\)", last_line(workspace))


def test_a_server_that_does_not_answer_may_be_asked_again(workspace, upload, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(StageFailed, match=rf"^{upload.prefix}deep/train.jsonl: Could not connect"):
        fetched(workspace)


def test_a_server_that_is_being_started_is_waited_for(s3_server, monkeypatch):
    with temporary_services() as services, ThreadPoolExecutor(1) as pool:
        services.start("s3")  # the first start chooses the port
        services.stop("s3")
        for name, value in s3_env(services).items():
            monkeypatch.setenv(name, value)
        answer = pool.submit(connect("s3://apo").list_buckets)
        threading.Event().wait(0.5)
        assert not answer.done()
        services.start("s3")
        assert answer.result(timeout=40)["Buckets"] is not None


@pytest.fixture
def prefix_workspace(upload, tmp_path):
    """A workspace that trains on all objects below a prefix."""
    workspace = workspace_of(upload, tmp_path, "deep/", "test.csv")
    upload("deep/b/more.csv", TEST.replace(b"2+2", b"5+5"))
    upload("deep/LICENSE", b"no prompts")
    upload("deep/empty/", b"")
    return workspace


def test_a_prefix_is_mirrored_as_a_directory(prefix_workspace, upload, s3, monkeypatch):
    workspace, mirror = prefix_workspace, mirror_of(prefix_workspace, upload, "deep")

    def files():
        return sorted(str(file.relative_to(mirror)) for file in mirror.rglob("*") if file.is_file())

    assert fetched(workspace) == ["fetched", "fetched"]
    assert files() == ["b/more.csv", "train.jsonl"]
    assert fetched(workspace) == ["unchanged", "unchanged"]
    run_stage(prepare, workspace)
    assert list(read_table(workspace.prompts, PROMPTS)["prompt"]) == ["5+5=", "1+1=", "2+2="]
    # One object is deleted, one new, one changed, one unchanged.
    upload("deep/same.jsonl", TRAIN)
    assert fetched(workspace)[0] == "fetched"
    s3.delete_object(**upload.key("deep/b/more.csv"))
    upload("deep/new.jsonl", TRAIN)
    upload("deep/train.jsonl", TRAIN + TRAIN)
    asked, fetch = [], s3_object.fetch_object
    monkeypatch.setattr(
        "tasks.prompts.s3_prefix.fetch_object", lambda *args: (asked.append(args[-1].name), fetch(*args))
    )
    assert fetched(workspace) == ["fetched", "unchanged"]
    assert sorted(asked) == ["new.jsonl", "train.jsonl"]
    assert files() == ["new.jsonl", "same.jsonl", "train.jsonl"]
    assert (mirror / "train.jsonl").read_bytes() == TRAIN + TRAIN
    assert (mirror / "same.jsonl").read_bytes() == TRAIN


def test_a_mirror_of_a_prefix_that_was_cut_or_added_to_is_made_anew(prefix_workspace, upload):
    workspace, mirror = prefix_workspace, mirror_of(prefix_workspace, upload, "deep")
    fetched(workspace)
    (mirror / "train.jsonl").write_bytes(TRAIN[:3])
    assert fetched(workspace)[0] == "fetched"
    assert (mirror / "train.jsonl").read_bytes() == TRAIN
    (mirror / "mine.jsonl").write_bytes(TRAIN)
    assert fetched(workspace)[0] == "fetched"
    assert not (mirror / "mine.jsonl").exists()


def test_a_broken_fetch_of_a_prefix_leaves_the_mirror_that_was(prefix_workspace, upload, monkeypatch):
    workspace, mirror = prefix_workspace, mirror_of(prefix_workspace, upload, "deep")
    fetched(workspace)
    upload("deep/b/more.csv", TEST)
    upload("deep/train.jsonl", TRAIN + TRAIN)
    fetch = s3_object.fetch_object

    def changes_meanwhile(client, bucket, key, etag, file):
        if key.endswith("train.jsonl"):
            upload("deep/train.jsonl", TRAIN * 3)
        fetch(client, bucket, key, etag, file)

    monkeypatch.setattr("tasks.prompts.s3_prefix.fetch_object", changes_meanwhile)
    with pytest.raises(
        StageFailed, match=rf"^{upload.prefix}deep/train.jsonl: .*\((412|PreconditionFailed)\)"
    ):
        fetched(workspace)
    assert (mirror / "train.jsonl").read_bytes() == TRAIN
    assert (mirror / "b/more.csv").read_bytes() == TEST.replace(b"2+2", b"5+5")
    assert sorted(path.name for path in mirror.parent.iterdir()) == [
        "deep",
        "deep.record",
        "test.csv",
        "test.csv.record",
    ]


def test_a_prefix_without_prompts_is_refused(prefix_workspace, upload):
    set_params(prefix_workspace.params, [f"data.train_files=[{upload.prefix}deep/empty/]"])
    assert last_line(prefix_workspace) == (
        f"error: {upload.prefix}deep/empty/: there is no .jsonl, .ndjson, .json, .csv or .parquet object "
        "below it"
    )


def test_more_objects_than_a_page_of_the_listing(upload, s3, tmp_path):
    with ThreadPoolExecutor(8) as pool:
        bodies = {f"many/{i:04}.jsonl": TRAIN.replace(b"1+1", b"%d+1" % i) for i in range(1005)}
        list(pool.map(lambda item: upload(*item), bodies.items()))
    assert s3.list_objects_v2(**{"Bucket": "apo", "Prefix": upload.key("many/")["Key"]})["IsTruncated"]
    assert len(list(list_objects(s3, "apo", upload.key("many/")["Key"]))) == 1005
    workspace = workspace_of(upload, tmp_path, "many/", "test.csv")
    assert fetched(workspace)[0] == "fetched"
    assert len(list(mirror_of(workspace, upload, "many").iterdir())) == 1005
    assert fetched(workspace)[0] == "unchanged"


@pytest.mark.parametrize("size", [2**20, 20 * 2**20])
def test_what_arrives_is_compared_with_the_etag(upload, s3, tmp_path, size, monkeypatch):
    """Objects were uploaded whole, and in parts."""
    content, file = os.urandom(size), tmp_path / "content"
    file.write_bytes(content)
    s3.upload_file(str(file), **upload.key("a.jsonl"))
    remote = s3_object.S3Object(f"{upload.prefix}a.jsonl")
    version = remote.version()
    assert ("-" in version) == (size > 2**23)
    remote.download(version, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content
    # Damaged on its way to the disk.
    read = s3_object._read

    def damaged(client, request, copy):
        answer = read(client, request, copy)
        copy.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        return answer

    monkeypatch.setattr(s3_object, "_read", damaged)
    with pytest.raises(
        StageFailed, match=rf"^{upload.prefix}a.jsonl: arrived damaged: its ETag is {version}"
    ):
        remote.download(version, tmp_path / "copy")
