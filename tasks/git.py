"""Ask git for the commit and author of a workspace, and for its path in the repository."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_UNKNOWN = "unknown"


class _GitFailed(Exception):
    """Git ended with an error; the message is its own."""


def commit_of(workspace: Path) -> str | None:
    """The commit of the workspace's repository; of the code's own checkout where there is none; else None.

    `+changes` is appended where tracked files differ from it. A repository that git refuses to read, because
    it is damaged or another account's, has a commit that is not known: `unknown: ` and git's reason.
    """
    try:
        return _commit(workspace) or _commit(Path(__file__).parent)
    except _GitFailed as error:
        return f"{_UNKNOWN}: {error}"


def author_of(workspace: Path) -> str | None:
    """The author of the commit that a workspace is at; None where there is none, or git does not say."""
    return _try_git(workspace, "log", "-1", "--format=%an") or None


def path_in_repository(workspace: Path) -> str | None:
    """The workspace's path below the root of its repository, `.` for the root; None outside a repository."""
    prefix = _try_git(workspace, "rev-parse", "--show-prefix")
    return None if prefix is None else prefix.rstrip("/") or "."


def is_under_git(directory: Path) -> bool:
    """Whether a directory is in a repository."""
    return _try_git(directory, "rev-parse", "--is-inside-work-tree") is not None


def _commit(directory: Path) -> str | None:
    """The commit of a directory; None outside a repository, and in one without a commit.

    Raises:
        _GitFailed: git refuses.
    """
    try:
        head = _git(directory, "rev-parse", "--verify", "HEAD")
    except _GitFailed:
        if not _has_repository(directory) or _is_before_first_commit(directory):
            return None
        raise
    if head is None:
        return None
    # Without dvc.lock, which changes with every run and is hashed beside the commit.
    changed = _git(directory, "status", "--porcelain", "--untracked-files=no", "--", ":!dvc.lock")
    return f"{head}+changes" if changed else head


def _has_repository(directory: Path) -> bool:
    """Whether a directory, or one above it, has git's files, damaged or not."""
    own = directory.resolve()
    return any(os.path.lexists(parent / ".git") for parent in (own, *own.parents))


def _is_before_first_commit(directory: Path) -> bool:
    """Whether a repository has no commit yet: no branch has one, and none was ever made."""
    log = _try_git(directory, "rev-parse", "--git-path", "logs/HEAD")
    if log is None or (directory / log).exists():
        return False
    return _try_git(directory, "symbolic-ref", "HEAD") is not None and not _try_git(
        directory, "rev-list", "--all", "--max-count=1"
    )


def _try_git(directory: Path, *arguments: str) -> str | None:
    try:
        return _git(directory, *arguments)
    except _GitFailed:
        return None


def _git(directory: Path, *arguments: str) -> str | None:
    """The output of a git command; None where there is no git on this machine.

    Raises:
        _GitFailed: it ended with an error, or cannot be run.
    """
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=directory,
            env={**os.environ, "LC_ALL": "C"},  # its messages are read below
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _GitFailed(f"git cannot be run: {error.strerror}") from None
    if done.returncode:
        fatal = [line for line in done.stderr.splitlines() if line.startswith("fatal: ")]
        lines = fatal or done.stderr.strip().splitlines() or [f"git {arguments[0]}: status {done.returncode}"]
        raise _GitFailed(lines[0].removeprefix("fatal: "))
    return done.stdout.strip()
