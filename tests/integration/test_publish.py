"""Registered models to S3 and back, against a real server on loopback and MLflow's own sqlite store."""

import os
import re
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from builders import clean_env, execute

from apo_core.config.file import load_params
from apo_core.embedded.tiny_decoder import character_tokenizer, tiny_decoder
from apo_core.errors import ApoError, StageFailed, StageRefused
from apo_core.model.loading import save_policy
from apo_core.system.files import sha256_of
from apo_core.system.loopback import free_port
from flows.workspaces import preset_text
from tasks.storage import transfer
from tasks.storage.checksums import PART
from tasks.storage.download import download
from tasks.storage.manifest import MANIFEST, parse_manifest
from tasks.storage.publish import _write_manifest, publish_version
from tasks.storage.publish import publish as publish_directory
from tasks.storage.published_location import PublishedLocation, read_manifest
from tasks.storage.s3_client import connect as connect_s3
from tasks.storage.s3_client import list_objects
from tasks.tracking.registry import Registered, parse_spec, register, resolve
from tasks.tracking.runs import start_run
from tasks.tracking.store import connect
from tasks.workspace import Workspace

pytestmark = pytest.mark.servers

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A workspace whose registry has two versions of a model, the first of them the champion.

    Their weights are large enough to be sent in three parts.
    """
    workspace = Workspace(tmp_path_factory.mktemp("publish") / "workspace")
    workspace.root.mkdir()
    workspace.params.write_text(preset_text("ci"))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        client = connect(workspace)
        for seed in (1, 2):
            _register(client, workspace, seed)
        client.set_registered_model_alias("apo-ci", "champion", "1")
    return workspace


def _register(client, workspace, seed):
    tokenizer = character_tokenizer()
    model = tiny_decoder(tokenizer, hidden_size=384, layers=2, heads=2, seed=seed)
    save_policy(model, tokenizer, workspace.policy)
    run_id = start_run(client, workspace, load_params(workspace.params), {})
    tags = {"git_commit": "abc", "fingerprint": "def"}
    digest = sha256_of(workspace.policy)
    register(client, workspace.policy, name="apo-ci", run_id=run_id, policy_sha256=digest, tags=tags)


@pytest.fixture
def client(workspace, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return connect(workspace)


@pytest.fixture
def base(s3, s3_prefix):
    """The S3 prefix to which this test publishes."""
    return f"s3://apo/{s3_prefix}"


def publish(client, workspace, base, model="apo-ci/1", log=None):
    """The outcome that each file's line of output reports, by its path."""
    lines = []

    def keep(line):
        lines.append(line)
        if log is not None:
            log(line)

    publish_version(client, workspace, resolve(client, parse_spec(model)), base, keep)
    return {path: said.split(",")[0] for path, _, said in (line.partition(": ") for line in lines)}


def keys(s3, base):
    prefix = base.removeprefix("s3://apo/")
    return {
        listed.key.split("/")[-1]: listed.etag for listed in list_objects(s3, "apo", f"{prefix}/apo-ci/1/")
    }


def where(base, name):
    return {"Bucket": "apo", "Key": f"{base.removeprefix('s3://apo/')}/apo-ci/1/{name}"}


def test_a_champion_is_published_and_comes_back_as_it_was(workspace, s3, base, tmp_path):
    output = execute(f"apo publish apo-ci {base}", workspace.root).stdout
    assert output.endswith(f"{base}/apo-ci/1/ holds apo-ci version 1\n")
    manifest = parse_manifest("it", s3.get_object(**where(base, MANIFEST))["Body"].read())
    assert (manifest.model, manifest.version) == ("apo-ci", "1")
    assert manifest.tags.items() >= {"git_commit": "abc", "fingerprint": "def"}.items()
    assert {file.path for file in manifest.files} | {MANIFEST} == set(keys(s3, base))
    assert keys(s3, base)[WEIGHTS].endswith("-3")  # in three parts
    before = {name: s3.head_object(**where(base, name))["LastModified"] for name in keys(s3, base)}
    time.sleep(1.1)  # objects' times are in whole seconds
    again = execute(f"apo publish apo-ci@champion {base}", workspace.root).stdout
    assert "sent" not in again
    assert {name: s3.head_object(**where(base, name))["LastModified"] for name in before} == before
    copy = tmp_path / "deep/copy"
    assert execute(f"apo download {base}/apo-ci/1 {copy}", tmp_path).stdout.endswith(f"{base}/apo-ci/1\n")
    assert (copy / MANIFEST).read_text() == manifest.text()
    (copy / MANIFEST).unlink()
    assert sha256_of(copy) == manifest.tags["policy_sha256"]
    assert sorted(path.name for path in copy.parent.iterdir()) == ["copy"]
    assert not workspace.work("publish").exists()


def test_a_killed_publication_goes_on_where_it_was(workspace, client, s3, base):
    process = subprocess.Popen(
        ["apo", "publish", "apo-ci/1", base], cwd=workspace.root, env=clean_env(), stdout=subprocess.DEVNULL
    )
    prefix = base.removeprefix("s3://apo/")
    while not (unfinished := s3.list_multipart_uploads(Bucket="apo", Prefix=prefix).get("Uploads")):
        assert process.poll() is None, "it ended before it could be killed"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert [upload["Key"] for upload in unfinished] == [where(base, WEIGHTS)["Key"]]
    before = keys(s3, base)
    assert before
    assert not {WEIGHTS, MANIFEST} & set(before)
    with pytest.raises(StageRefused, match=r"/apo-ci/1/: holds no whole model: it has no manifest.json$"):
        download(f"{base}/apo-ci/1", workspace.root / "copy", print)
    sent = []

    def send(client, file, *where, **how):
        sent.append(file.name)
        transfer.send_file(client, file, *where, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasks.storage.publish.send_file", send)
        said = publish(client, workspace, base)
    assert sent == [WEIGHTS]
    assert {said[name] for name in before} == {"is there already"}
    assert {WEIGHTS, MANIFEST, *before} == set(keys(s3, base))
    assert not s3.list_multipart_uploads(Bucket="apo", Prefix=prefix).get("Uploads")


def test_another_model_of_the_same_version_is_refused(workspace, client, s3, base):
    publish(client, workspace, base)
    before = keys(s3, base)
    location = PublishedLocation(s3, "apo", where(base, "")["Key"])
    other = replace(
        resolve(client, parse_spec("apo-ci/2")), version="1"
    )  # as in a registry that was set up anew
    with pytest.raises(
        StageRefused, match=rf"^{base}/apo-ci/1/: holds another .* version: {WEIGHTS} differs$"
    ):
        publish_directory(workspace.policy, other, {}, location, print)
    # The same holds when the first publication was killed before its manifest.
    s3.delete_object(**where(base, MANIFEST))
    with pytest.raises(StageRefused, match=rf"^{base}/apo-ci/1/: holds another {WEIGHTS}, of a publication"):
        publish_directory(workspace.policy, other, {}, location, print)
    assert keys(s3, base).items() == before.items() - {(MANIFEST, before[MANIFEST])}
    s3.put_object(**where(base, "notes.txt"), Body=b"mine")
    with pytest.raises(StageRefused, match=r"holds 'notes.txt', which is no file of this model$"):
        publish(client, workspace, base)


def test_two_publications_at_once_of_one_model_are_one(workspace, client, s3, base, tmp_path):
    """The second begins once the first has sent a file, and ends before the first continues."""
    inner = Workspace(tmp_path)
    nested = []

    def first_line(line):
        if not nested:
            nested.append(line)
            publish_version(client, inner, resolve(client, parse_spec("apo-ci/1")), base, print)

    said = publish(client, workspace, base, log=first_line)
    assert list(said.values()).count("sent") == 1
    download(f"{base}/apo-ci/1", tmp_path / "copy", print)


def rival(workspace, base):
    """The arguments to publish version 2 as version 1, as in a registry that was set up anew."""
    registered = Registered(name="apo-ci", version="1", aliases=[], run_id="")
    location = PublishedLocation(connect_s3(base), "apo", where(base, "")["Key"])
    return workspace.policy, registered, {}, location


def test_of_two_models_at_once_the_slower_one_changes_nothing(workspace, client, s3, base, tmp_path):
    """The faster runs after the slower one's file has arrived in parts, and before the parts are joined."""
    directory, registered, tags, location = rival(workspace, base)
    for name in {file.name for file in directory.iterdir()} - {WEIGHTS}:  # the same in both
        s3.put_object(**where(base, name), Body=(directory / name).read_bytes())
    inner, faster = Workspace(tmp_path), []

    def meanwhile(**_):
        if not faster:
            faster.append(
                publish_version(client, inner, resolve(client, parse_spec("apo-ci/1")), base, print)
            )

    location.client.meta.events.register("before-parameter-build.s3.CompleteMultipartUpload", meanwhile)
    with pytest.raises(StageRefused, match=rf"{WEIGHTS}: was written by somebody else meanwhile$"):
        publish_directory(directory, registered, tags, location, print)
    assert faster
    download(f"{base}/apo-ci/1", tmp_path / "copy", print)


def test_what_another_publication_has_written_over_gets_no_manifest(workspace, client, s3, base):
    """Overwrite a file between its comparison and the manifest, on a server without conditional writes."""
    other = (workspace.policy / WEIGHTS).read_bytes()

    def write_over(line):
        if line.startswith(f"{WEIGHTS}: sent"):
            s3.put_object(**where(base, WEIGHTS), Body=other)

    with pytest.raises(StageRefused, match=rf"another publication is writing there: {WEIGHTS} has changed$"):
        publish(client, workspace, base, log=write_over)
    assert MANIFEST not in keys(s3, base)


def test_a_manifest_is_written_once(workspace, client, s3, base):
    """Of two publications of different models at once, the second to finish fails."""
    publish(client, workspace, base)
    location = PublishedLocation(s3, "apo", where(base, "")["Key"])
    first = read_manifest(location)
    with pytest.raises(StageRefused, match="holds another model of this name and version"):
        _write_manifest(location, first.model_copy(update={"files": first.files[:1]}))
    assert read_manifest(location) == first


def test_an_object_that_was_replaced_is_found_out_and_sent_again(workspace, client, s3, base, tmp_path):
    publish(client, workspace, base)
    weights = s3.get_object(**where(base, WEIGHTS))["Body"].read()
    assert len(weights) > 2 * PART
    s3.put_object(**where(base, WEIGHTS), Body=weights[:-1])
    with pytest.raises(StageRefused, match=rf"{WEIGHTS}: is damaged: it has {len(weights) - 1} bytes of"):
        download(f"{base}/apo-ci/1", tmp_path / "copy", print)
    s3.put_object(**where(base, WEIGHTS), Body=weights[:-1] + bytes([weights[-1] ^ 1]))
    done = execute(f"apo download {base}/apo-ci/1 {tmp_path}/copy", tmp_path, check=False)
    assert done.returncode == 2
    problem = f"error: {base}/apo-ci/1/{WEIGHTS}: is damaged: its SHA-256 is not the manifest's"
    assert done.stdout.splitlines()[-1] == problem
    assert not list(tmp_path.iterdir())
    said = publish(client, workspace, base)
    assert said[WEIGHTS] == "sent"
    assert [line for line in said.values() if line != "is there already"] == ["sent"]
    download(f"{base}/apo-ci/1", tmp_path / "copy", print)
    assert (tmp_path / "copy" / WEIGHTS).read_bytes() == weights


def test_bits_that_rot_on_the_servers_disk_are_found_out(workspace, client, s3, base, s3_directory, tmp_path):
    publish(client, workspace, base)
    # The end of it: the server keeps objects as they are, in blocks.
    marker = s3.get_object(**where(base, WEIGHTS))["Body"].read()[-4096:]
    assert sum(_rot(file, marker) for file in s3_directory.rglob("*.dat")) >= 1
    execution = f"AWS_MAX_ATTEMPTS=1 apo download {base}/apo-ci/1 {tmp_path}/copy"
    done = execute(execution, tmp_path, check=False)
    assert done.returncode == 2, done.stdout
    assert done.stdout.splitlines()[-1].startswith(f"error: {base}/apo-ci/1/{WEIGHTS}: ")
    assert "Traceback" not in done.stdout
    assert not list(tmp_path.iterdir())


def _rot(file: Path, marker: bytes) -> int:
    content = file.read_bytes()
    count, position = 0, content.find(marker)
    with file.open("r+b") as stream:
        while position >= 0:
            stream.seek(position + 100)
            stream.write(bytes([marker[100] ^ 1]))
            count, position = count + 1, content.find(marker, position + 1)
    return count


def test_what_arrives_damaged_is_removed_and_sent_again(workspace, client, s3, base, monkeypatch):
    """A file damaged on its way: its hashes were computed from other bytes."""
    state_of = transfer.state_of
    monkeypatch.setattr(transfer, "state_of", lambda *args: "other" if args[2].endswith(WEIGHTS) else "same")
    with pytest.raises(StageFailed, match=rf"{WEIGHTS}: arrived damaged and was removed"):
        publish(client, workspace, base)
    assert not {WEIGHTS, MANIFEST} & set(keys(s3, base))
    monkeypatch.setattr(transfer, "state_of", state_of)
    assert publish(client, workspace, base)[WEIGHTS] == "sent"


def test_objects_without_a_checksum_are_read(workspace, client, s3, base):
    publish(client, workspace, base)
    for name in ("config.json", WEIGHTS):
        body = s3.get_object(**where(base, name))["Body"].read()
        s3.put_object(**where(base, name), Body=body)  # with another checksum, in one part
        assert s3.head_object(**where(base, name), ChecksumMode="ENABLED").get("ChecksumSHA256") is None
    assert set(publish(client, workspace, base).values()) == {"is there already"}


def test_a_directory_that_is_somebodys_is_left_alone(workspace, client, s3, base, tmp_path):
    publish(client, workspace, base)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    with pytest.raises(ApoError, match=rf"^{mine}: exists and is not this model"):
        download(f"{base}/apo-ci/1", mine, print)
    assert [path.name for path in mine.iterdir()] == ["notes.txt"]
    (mine / "notes.txt").unlink()
    download(f"{base}/apo-ci/1", mine, print)
    lines = []
    download(f"{base}/apo-ci/1/", mine, lines.append)
    assert lines == [f"{mine}: holds this model already"]
    (mine / "config.json").write_text("{}")
    with pytest.raises(ApoError, match="is not this model"):
        download(f"{base}/apo-ci/1", mine, print)


@pytest.mark.parametrize("command", ["apo publish apo-ci/1 {}", "apo download {}/apo-ci/1 copy"])
def test_what_cannot_be_is_one_line_and_changes_nothing(workspace, s3, base, command):
    nowhere = f"http://127.0.0.1:{free_port()}"
    for address, variables, said in (
        (base, "AWS_SECRET_ACCESS_KEY=wrong", "signature"),
        (base, "AWS_ACCESS_KEY_ID=wrong", "access key"),
        (
            base,
            f"AWS_ENDPOINT_URL={nowhere} AWS_MAX_ATTEMPTS=1",
            f'Could not connect to the endpoint URL: "{nowhere}',
        ),
        ("s3://missing/deep", "", "bucket"),
        ("s3://apo", "", "is not of the form s3://bucket/key"),
    ):
        if address == "s3://apo" and "download" in command:
            continue
        done = execute(f"env {variables} {command.format(address)}", workspace.root, check=False)
        assert done.returncode == 2, done.stdout
        (line,) = done.stdout.strip().splitlines()
        assert re.match(rf"error: '?{address}", line)
        assert said in line
    assert not (workspace.root / "copy").exists()
    assert not workspace.work("publish").exists()
    assert not keys(s3, base)


def test_a_model_that_is_damaged_in_the_registry_is_not_published(workspace, client, s3, base):
    stored = list(workspace.state.rglob("config.json"))
    before = [file.read_bytes() for file in stored]
    assert stored
    try:
        for file in stored:
            file.write_bytes(file.read_bytes() + b"\n")
        with pytest.raises(ApoError, match="its files are not what was registered: policy_sha256 "):
            publish(client, workspace, base)
    finally:
        for file, content in zip(stored, before, strict=True):
            file.write_bytes(content)
    assert not keys(s3, base)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("apo-ci/7", "apo-ci/7: no such version is registered"),
        ("apo-ci@candidate", "apo-ci@candidate: no such version is registered"),
        ("nobody", "nobody@champion: no such version is registered"),
        ("apo-ci/", "'apo-ci/' is not of the form MODEL, MODEL@ALIAS or MODEL/VERSION"),
        ("a' or '1'='1", "is not of the form"),
    ],
)
def test_a_version_that_is_not_registered_is_refused(workspace, client, model, said):
    with pytest.raises(ApoError, match=re.escape(said)):
        resolve(client, parse_spec(model))
