"""Ask git for the commit and author of a workspace, and for its path in the repository."""

from __future__ import annotations

import subprocess
from pathlib import Path


def commit_of(workspace: Path) -> str | None:
    """The commit of the workspace's repository, else of the code's own checkout, else None.

    `+changes` is appended where tracked files differ from it.
    """
    return _commit(workspace) or _commit(Path(__file__).parent)


def author_of(workspace: Path) -> str | None:
    """The author of the commit that a workspace is at."""
    return _git(workspace, "log", "-1", "--format=%an") or None


def path_in_repository(workspace: Path) -> str | None:
    """The workspace's path below the root of its repository, `.` for the root; None outside a repository."""
    prefix = _git(workspace, "rev-parse", "--show-prefix")
    return None if prefix is None else prefix.rstrip("/") or "."


def _commit(directory: Path) -> str | None:
    head = _git(directory, "rev-parse", "HEAD")
    if head is None:
        return None
    # Without dvc.lock, which changes with every run and is hashed beside the commit.
    changed = _git(directory, "status", "--porcelain", "--untracked-files=no", "--", ":!dvc.lock")
    return f"{head}+changes" if changed else head


def _git(directory: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=directory, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no git on this machine
        return None
    return done.stdout.strip() if done.returncode == 0 else None
