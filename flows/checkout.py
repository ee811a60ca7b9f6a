"""The pull step of `prefect.yaml`: a clone that stays, with all that git ignores, when its branch moves on.

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

VARIABLE = "APO_WORKSPACES"  # the worker's own: it knows where its disk is
_DEFAULT = "~/.apo/workspaces"
_TOKEN = "APO_GIT_TOKEN"
# Run by git's shell, so the token is on no command line.
_HELPER = '!answer() {{ test "$1" = get && echo "username={user}" && echo "password=${token}"; }}; answer'
_ANY_USER = "oauth2"  # GitLab asks for a name, GitHub takes any


def workspace_at(workspace: str, checkout: str | None) -> Workspace:
    """The workspace of a run: below its clone, where the deployment has one."""
    return Workspace.at(workspace if checkout is None else _clone_of(checkout) / workspace)


def checkout(
    repository: str, branch: str, name: str, workspace: str = ".", access_token: str | None = None
) -> None:
    """Bring the clone of a deployment to the newest commit of its branch; it is made where there is none.

    What git ignores stays, and so does a `dvc.lock` that a run has changed. It gives Prefect no directory to
    change to: a worker that only looks for a flow's hooks would do so too.

    Args:
        repository: its address.
        branch: or a tag.
        name: of the clone, a directory below `APO_WORKSPACES` (by default `~/.apo/workspaces`).
        workspace: its directory in the repository; while a run is at work there, nothing is changed.
        access_token: for `https://`; `USER:TOKEN` where the host wants a certain user.

    Raises:
        ApoError: git refuses, a run is at work, or there is no workspace of that name.
    """
    if flow_run.id is None:  # not for a run: a worker looks for hooks, which need no files
        return
    clone = _clone_of(name)
    clone.parent.mkdir(parents=True, exist_ok=True)
    with (clone.parent / f".{name}.lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        environment = os.environ | _credentials(repository, access_token)
        place = clone / workspace
        with only_run(Workspace(place)) if place.is_dir() else nullcontext():
            _update(clone, repository, branch, environment)
    if not (place / "params.yaml").is_file():
        raise ApoError(
            f"{clone}: {branch} has no {Path(workspace) / 'params.yaml'}; APO_WORKSPACE is the path of the "
            "workspace below the repository's root"
        )


def _clone_of(name: str) -> Path:
    return Path(os.environ.get(VARIABLE) or _DEFAULT).expanduser().absolute() / name


def _update(clone: Path, repository: str, branch: str, environment: dict[str, str]) -> None:
    for left in (clone / ".git").rglob("*.lock"):  # of a git that was killed
        left.unlink()
    clone.mkdir(exist_ok=True)
    _git(clone, environment, "init", "--quiet")
    _git(clone, environment, "fetch", "--quiet", "--depth=1", "--no-tags", "--", repository, branch)
    with _own_records(clone, environment):
        _git(clone, environment, "reset", "--quiet", "--hard", "FETCH_HEAD")


@contextmanager
def _own_records(clone: Path, environment: dict[str, str]) -> Iterator[None]:
    """Every `dvc.lock` that a run has changed here stays: by the commit's, what is made counts as not."""
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
    """Variables by which git, asked by the repository's host and by no other, answers with the token."""
    quiet = {"GIT_TERMINAL_PROMPT": "0"}
    if not access_token:
        return quiet
    user, found, token = access_token.rpartition(":")
    address = urlsplit(repository)
    host = f"{address.scheme}://{address.netloc.rpartition('@')[2]}"
    helper = _HELPER.format(user=user if found else _ANY_USER, token=_TOKEN)
    # First none: another would keep the token.
    settings = (("credential.helper", ""), (f"credential.{host}.helper", helper))
    before = int(os.environ.get("GIT_CONFIG_COUNT") or 0)
    variables = {_TOKEN: token, "GIT_CONFIG_COUNT": str(before + len(settings))}
    for number, (key, value) in enumerate(settings, before):
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
