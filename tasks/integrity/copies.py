"""The copies that DVC keeps of what stages wrote, in its cache and on its remote, each named by its hash."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from apo_core.errors import StageFailed
from apo_core.system.files import remove, replacing, sha256_of
from tasks.dvc.repo import opened_repo
from tasks.integrity.aside import free_name
from tasks.integrity.recorded import parse_listing, unreadable
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from dvc_data.hashfile.db import HashFileDB

_OBJECT = re.compile(r"[0-9a-f]{32}(\.dir)?")
_READ_ONLY = 0o444  # as DVC leaves its objects


@dataclass(frozen=True)
class CopyStore:
    """Where DVC keeps copies. An object is a file, or the list of a directory's files, by its md5."""

    name: Literal["cache", "remote"]
    odb: HashFileDB

    def actual(self, md5: str) -> str | None:
        """The hash of the bytes of a copy, all of which are read, or why they cannot be; None without one."""
        from dvc_data.hashfile.hash import fobj_md5

        path = self.odb.oid_to_path(md5)
        try:
            if not self.odb.fs.exists(path):
                return None
            with self.odb.fs.open(path, "rb") as stream:
                return fobj_md5(stream)
        except OSError as error:
            return unreadable(error)

    def is_whole(self, md5: str) -> bool:
        """Whether there is a copy, with the bytes that its name says."""
        return self.actual(md5) == md5.removesuffix(".dir")

    def is_damaged(self, md5: str) -> bool:
        """Whether there is a copy, with other bytes than its name says."""
        return self.actual(md5) not in (None, md5.removesuffix(".dir"))

    def take(self, md5: str, target: Path) -> None:
        """Copy an object to a file."""
        with replacing(target) as temporary:
            self.odb.fs.get_file(self.odb.oid_to_path(md5), str(temporary))
            temporary.chmod(0o644)

    def put(self, source: Path, md5: str) -> None:
        """Make a file an object, in the place of what is there."""
        path = self.odb.oid_to_path(md5)
        if self.name == "cache":
            remove(Path(path))  # it is read-only
        self.odb.fs.put_file(str(source), path)
        if self.name == "cache":
            Path(path).chmod(_READ_ONLY)

    def listing(self, md5: str) -> dict[str, str] | None:
        """The files of a directory with their hashes; None where there is no whole list of them."""
        if not self.is_whole(md5):
            return None
        with self.odb.fs.open(self.odb.oid_to_path(md5), "rb") as stream:
            return parse_listing(stream.read())

    def drop(self, md5: str, aside: Path) -> None:
        """Take a damaged copy away; it is kept below `aside`.

        Raises:
            OSError: it cannot be moved; it is where it was.
        """
        kept = free_name(aside / self.name / md5)
        if self.name == "cache":  # not copied: there may be bytes that cannot be read
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(self.odb.oid_to_path(md5), kept)
        else:
            self.take(md5, kept)
            self.odb.fs.remove(self.odb.oid_to_path(md5))

    def names(self) -> list[str]:
        """The hashes of all objects, those of earlier runs too; not what a killed DVC has half written."""
        names: list[str] = sorted(self.odb.all())  # type: ignore[no-untyped-call]
        return [name for name in names if _OBJECT.fullmatch(name)]


@contextmanager
def opened(workspace: Workspace, name: Literal["cache", "remote"]) -> Iterator[CopyStore | None]:
    """Open a store of copies; None for a remote that is not configured.

    Raises:
        ApoError: DVC cannot read the workspace, see `opened_repo`.
        StageFailed: the remote does not answer, or refuses.
    """
    with opened_repo(workspace.root) as repo:
        if name == "cache":
            yield CopyStore("cache", repo.cache.local)
        elif repo.config["core"].get("remote"):
            yield CopyStore("remote", _reachable(repo.cloud.get_remote_odb()))
        else:
            yield None


def _reachable(odb: HashFileDB) -> HashFileDB:
    """The same, once it has answered.

    Raises:
        StageFailed: it does not answer, or refuses.
    """
    from botocore.exceptions import BotoCoreError

    try:
        odb.fs.exists(odb.path)
    except (OSError, BotoCoreError) as error:
        raise StageFailed(f"DVC's remote {odb.path}: {' '.join(str(error).split())}") from None
    return odb


def take_policy(policy_sha256: str, stores: Iterable[CopyStore], target: Path) -> bool:
    """Copy the policy of that hash from DVC's copies to a directory; False where it is nowhere whole."""
    for store in stores:
        for name in store.names():
            listed = store.listing(name) if name.endswith(".dir") else None
            if listed is None or "config.json" not in listed or not all(map(store.is_whole, listed.values())):
                continue
            remove(target)  # another policy, looked at before
            for file, md5 in listed.items():
                store.take(md5, target / file)
            if sha256_of(target) == policy_sha256:
                return True
    return False
