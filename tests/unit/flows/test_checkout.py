"""The pull step with real git: what it keeps, what it fetches, and which host gets the token."""

import base64
import os
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4

import pytest

from apo_core.errors import ApoError
from flows.checkout import checkout, workspace_at
from tasks.lock import only_run

TOKEN = "canary-of-the-repository-62d9"
IGNORED = ("data/unfinished/train/state", ".dvc/cache/files", ".apo/mlflow.db")


def git(directory, *arguments):
    command = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@host", *arguments]
    return subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True).stdout


def commit(source, **files):
    for name, text in files.items():
        (source / name.replace("_", ".")).write_text(text)
    git(source, "add", "-A")
    git(source, "commit", "-qm", "more")


@pytest.fixture
def source(tmp_path):
    source_repository = tmp_path / "source"
    source_repository.mkdir()
    git(source_repository, "init", "-q", "-b", "main")
    (source_repository / ".gitignore").write_text("/.apo/\n/data/\n/.dvc/cache/\n")
    commit(source_repository, params_yaml="1", dvc_lock="git 1", old_txt="old")
    return source_repository


@pytest.fixture
def clone(tmp_path, monkeypatch):
    monkeypatch.setenv("APO_WORKSPACES", str(tmp_path / "workspaces"))
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", str(uuid4()))
    return tmp_path / "workspaces/model"


def take(source, **more):
    return checkout(repository=source.as_uri(), branch="main", name="model", **more)


def test_a_new_commit_comes_and_what_git_ignores_stays(source, clone):
    take(source)
    for name in IGNORED:
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text(name)
    (clone / "params.yaml").write_text("changed by a run")
    (source / "old.txt").unlink()
    commit(source, params_yaml="2", dvc_lock="git 2")
    git(source, "commit", "-q", "--amend", "-m", "another history")
    assert take(source) is None  # Prefect would change its directory to the one it gets
    assert {name: (clone / name).read_text() for name in IGNORED} == {name: name for name in IGNORED}
    assert (clone / "params.yaml").read_text() == "2"
    assert (clone / "dvc.lock").read_text() == "git 2"
    assert not (clone / "old.txt").exists()
    assert git(clone, "rev-parse", "HEAD") == git(source, "rev-parse", "HEAD")
    assert git(clone, "rev-list", "--count", "HEAD").strip() == "1"


@pytest.mark.parametrize("in_git", [True, False])
def test_the_record_that_a_run_has_written_stays(source, clone, in_git):
    if not in_git:
        git(source, "rm", "-q", "dvc.lock")
        commit(source)
    take(source)
    (clone / "dvc.lock").write_text("a run's")
    commit(source, params_yaml="2", dvc_lock="git 2")
    take(source)
    assert (clone / "params.yaml").read_text() == "2"
    assert (clone / "dvc.lock").read_text() == "a run's"


def test_a_git_that_was_killed_is_got_over(source, clone):
    take(source)
    for name in ("index.lock", "shallow.lock", "refs/heads/main.lock", "HEAD.lock"):
        (clone / ".git" / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / ".git" / name).touch()
    commit(source, params_yaml="2")
    take(source)
    assert (clone / "params.yaml").read_text() == "2"


def test_nothing_changes_under_a_run(source, clone):
    take(source)
    commit(source, params_yaml="2")
    with only_run(workspace_at(".", "model")), pytest.raises(ApoError, match="another run is at work"):
        take(source)
    assert (clone / "params.yaml").read_text() == "1"


def test_a_worker_that_looks_for_hooks_makes_no_clone(source, clone, monkeypatch):
    monkeypatch.delenv("PREFECT__FLOW_RUN_ID")
    take(source)
    assert not clone.exists()


def test_a_workspace_lies_in_its_clone_or_where_it_says(clone, tmp_path, monkeypatch):
    assert workspace_at("part", "model").root == clone / "part"
    assert workspace_at(str(tmp_path), None).root == tmp_path
    monkeypatch.delenv("APO_WORKSPACES")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert workspace_at(".", "model").root == tmp_path / ".apo/workspaces/model"


class Host(BaseHTTPRequestHandler):
    """A git host over HTTP (git http-backend) that requires a token."""

    def do_POST(self):
        self.do_GET()

    def do_GET(self):
        expected = base64.b64encode(f"{self.server.user}:{TOKEN}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {expected}":
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = {
            "GIT_PROJECT_ROOT": str(self.server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(
            ["git", "http-backend"], input=body, env=os.environ | request, capture_output=True, check=True
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        self.send_response(200)
        for line in head.decode().splitlines():
            self.send_header(*line.split(": ", 1))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@contextmanager
def hosted(root, user):
    with ThreadingHTTPServer(("127.0.0.1", 0), Host) as server:
        server.root, server.user = root, user
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/source/.git"
        server.shutdown()


@pytest.mark.parametrize(
    ("user", "access_token"), [("oauth2", TOKEN), ("x-token-auth", f"x-token-auth:{TOKEN}")]
)
def test_a_token_opens_the_repository_and_is_written_nowhere(
    source, clone, tmp_path, monkeypatch, user, access_token
):
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("[credential]\n\thelper = store\n")  # would store the token
    monkeypatch.setenv("HOME", str(home))
    commands = tmp_path / "commands"
    monkeypatch.setenv("GIT_TRACE", str(commands))
    with hosted(tmp_path, user) as repository:
        for text in "12":
            commit(source, params_yaml=f"seen {text}")
            checkout(repository, "main", "model", access_token=access_token)
            assert (clone / "params.yaml").read_text() == f"seen {text}"
        with pytest.raises(ApoError, match="git fetch") as refused:
            checkout(repository, "main", "model", access_token=f"not-{TOKEN}")
        with pytest.raises(ApoError, match="git fetch"):
            checkout(repository, "main", "model")
    assert "fetch" in commands.read_text()
    kept = [file for top in (clone, home) for file in top.rglob("*") if file.is_file()] + [commands]
    assert not [file for file in kept if TOKEN.encode() in file.read_bytes()]
    assert TOKEN not in str(refused.value)


def test_a_token_is_for_its_host_alone(source, clone, tmp_path):
    """Git does not send the token to a host that the repository's host redirects to."""

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(302)
            self.send_header("Location", f"{self.server.target}{self.path.removeprefix('/source/.git')}")
            self.end_headers()

        def log_message(self, *_):
            pass

    with hosted(tmp_path, "oauth2") as target, ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as first:
        first.target = target
        threading.Thread(target=first.serve_forever, args=(0.05,), daemon=True).start()
        with pytest.raises(ApoError, match="git fetch"):
            checkout(f"http://127.0.0.1:{first.server_port}/source/.git", "main", "model", access_token=TOKEN)
        first.shutdown()


def test_a_workspace_that_is_not_in_the_repository_is_named(source, clone):
    with pytest.raises(ApoError, match=r"main has no models/sums/params.yaml; APO_WORKSPACE is the"):
        take(source, workspace="models/sums")
