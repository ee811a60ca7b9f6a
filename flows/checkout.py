"""The pull step of `prefect.yaml`: update a clone in place, and keep all files that git ignores.

Prefect's own step removes a shallow clone that cannot be merged, and with it checkpoints and DVC's cache.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from urllib.parse import urlsplit

from prefect.runtime import flow_run

from apo_core.errors import ApoError
from apo_core.system.files import replacing
from tasks.lock import only_run
from tasks.workspace import Workspace

VARIABLE = "APO_WORKSPACES"  # set per worker: each knows where its disk is
_DEFAULT = "~/.apo/workspaces"
_TOKEN = "APO_GIT_TOKEN"
# Run by git's shell, so the token is on no command line.
_HELPER = '!answer() {{ test "$1" = get && echo "username={user}" && echo "password=${token}"; }}; answer'
_ANY_USER = "oauth2"  # GitLab asks for a name, GitHub takes any


def workspace_at(workspace: str, checkout: str | None) -> Workspace:
    """The workspace of a run; where the deployment has a clone, its path is relative to the clone."""
    return Workspace.at(workspace if checkout is None else _clone_of(checkout) / workspace)


def checkout(
    repository: str, branch: str, name: str, workspace: str = ".", access_token: str | None = None
) -> None:
    """Bring the clone of a deployment to the newest commit of its branch; a missing clone is made.

    Files that git ignores stay, and so does a `dvc.lock` that a run has changed. Prefect gets no directory to
    change to: a worker that only looks for a flow's hooks would change to it too.

    Args:
        repository: address of the repository.
        branch: branch or tag.
        name: of the clone, a directory below `APO_WORKSPACES` (by default `~/.apo/workspaces`).
        workspace: the workspace's path in the repository; while a run is at work there, nothing is changed.
        access_token: for `https://`; `USER:TOKEN` where the host asks for a certain user.

    Raises:
        ApoError: git refuses, a run is at work, or the repository has no such workspace.
    """
    if flow_run.id is None:  # a worker only looks for hooks, which need no files
        return
    clone = _clone_of(name)
    clone.parent.mkdir(parents=True, exist_ok=True)
    with (clone.parent / f".{name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        environment = os.environ | _credentials(repository, access_token)
        directory = clone / workspace
        with only_run(Workspace(directory)) if directory.is_dir() else nullcontext():
            _update(clone, repository, branch, environment)
    if not (directory / "params.yaml").is_file():
        raise ApoError(
            f"{clone}: {branch} has no {Path(workspace) / 'params.yaml'}; APO_WORKSPACE is the path of the "
            "workspace below the repository's root"
        )


def _clone_of(name: str) -> Path:
    return Path(os.environ.get(VARIABLE) or _DEFAULT).expanduser().absolute() / name


def _update(clone: Path, repository: str, branch: str, environment: dict[str, str]) -> None:
    for lock in (clone / ".git").rglob("*.lock"):  # of a git process that was killed
        lock.unlink()
    clone.mkdir(exist_ok=True)
    _git(clone, environment, "init", "--quiet")
    _git(clone, environment, "fetch", "--quiet", "--depth=1", "--no-tags", "--", repository, branch)
    with _keep_dvc_locks(clone, environment):
        _git(clone, environment, "reset", "--quiet", "--hard", "FETCH_HEAD")


@contextmanager
def _keep_dvc_locks(clone: Path, environment: dict[str, str]) -> Iterator[None]:
    """Keep every `dvc.lock` that a run has changed: it says which stages are finished here."""
    changed = ("ls-files", "--modified", "--others", "--exclude-standard", "-z", "--", ":(glob)**/dvc.lock")
    names = [name for name in _git(clone, environment, *changed).split("\0") if name]
    kept = {clone / name: (clone / name).read_bytes() for name in names if (clone / name).is_file()}
    try:
        yield
    finally:
        for file, content in kept.items():
            with replacing(file) as temporary:
                temporary.write_bytes(content)


def _credentials(repository: str, access_token: str | None) -> dict[str, str]:
    """Environment variables that make git answer the repository's host, and no other, with the token."""
    quiet = {"GIT_TERMINAL_PROMPT": "0"}
    if not access_token:
        return quiet
    user, colon, token = access_token.rpartition(":")
    address = urlsplit(repository)
    host = f"{address.scheme}://{address.netloc.rpartition('@')[2]}"
    helper = _HELPER.format(user=user if colon else _ANY_USER, token=_TOKEN)
    # The empty helper comes first and clears others, which would store the token.
    git_config = (("credential.helper", ""), (f"credential.{host}.helper", helper))
    count = int(os.environ.get("GIT_CONFIG_COUNT") or 0)
    variables = {_TOKEN: token, "GIT_CONFIG_COUNT": str(count + len(git_config))}
    for number, (key, value) in enumerate(git_config, count):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return quiet | variables


def _git(clone: Path, environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments],
        cwd=clone,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ApoError(f"{clone}: git {arguments[0]}: {' '.join(done.stderr.split())}")
    return done.stdout
