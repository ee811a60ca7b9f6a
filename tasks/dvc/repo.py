"""DVC's own view of a workspace, its errors in words of this project."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from apo_core.errors import ApoError

if TYPE_CHECKING:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo


class WorkspaceBusy(ApoError):
    """DVC is at work in the workspace; trying again later may help."""


class DamagedRecord(ApoError):
    """`dvc.yaml` or `dvc.lock` is not what DVC writes and reads."""


@contextmanager
def opened_repo(workspace: Path) -> Iterator[Repo]:
    """Open DVC's view of a workspace; where it may only be read, DVC's locks are outside.

    Raises:
        WorkspaceBusy: a stage is running.
        DamagedRecord: DVC cannot read `dvc.yaml` or `dvc.lock`.
        ApoError: the directory is no DVC workspace, git ignores it, or DVC refuses otherwise.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        if os.access(workspace / ".dvc", os.W_OK):
            with Repo(str(workspace)) as repo:
                yield repo
            return
        with tempfile.TemporaryDirectory() as scratch:

            class OnlyRead(Repo):
                tmp_dir = scratch

            with OnlyRead(str(workspace)) as repo:
                yield repo
    except DvcException as error:
        raise _translated(workspace, error) from None


def _translated(workspace: Path, error: DvcException) -> ApoError:
    from dvc.config import ConfigError
    from dvc.dvcfile import FileIsGitIgnored
    from dvc.exceptions import NotDvcRepoError
    from dvc.lock import LockError
    from dvc.scm import SCMError
    from dvc.utils.serialize import ParseError
    from dvc.utils.strictyaml import YAMLValidationError

    reason = (str(error).splitlines() or [type(error).__name__])[0]
    match error:
        case LockError():
            return WorkspaceBusy(f"{workspace}: DVC is at work here; try again when it is done")
        case NotDvcRepoError() if (workspace / "dvc.yaml").exists():
            return ApoError(
                f"{workspace}: has no .dvc; was it copied without its hidden files? copy them too (`cp -a`)"
            )
        case NotDvcRepoError():
            return ApoError(f"{workspace}: is no workspace; `apo init DIR` makes one")
        case SCMError():
            return ApoError(
                f"{workspace}: is in no git repository; run `git init` there, or make a workspace by "
                "`apo init`"
            )
        case FileIsGitIgnored():
            return ApoError(f"{workspace}: git ignores dvc.lock, and so does DVC; see .gitignore")
        case ConfigError():
            return ApoError(f"{workspace}: .dvc/config: {reason}")
        case ParseError() | YAMLValidationError():
            return DamagedRecord(f"{workspace}: dvc.yaml or dvc.lock is damaged: {reason}")
        case _:
            return ApoError(f"{workspace}: dvc: {reason}")
