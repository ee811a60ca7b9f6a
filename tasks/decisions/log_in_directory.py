"""The files of a log of decisions in a directory of this machine, or one that several machines mount."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from urllib.parse import quote

_ENTRY = "entry.json"
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)  # nothing helps there
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)


class DirectoryStore:
    """An `AuditStore` of `tasks.decisions.log`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self, model: str) -> list[str]:
        """See `AuditStore`."""
        return sorted(file.name for file in self._directory(model).glob("*.json"))

    def read(self, model: str, name: str) -> str:
        """See `AuditStore`."""
        file = self._directory(model) / name
        return (file / _ENTRY if file.is_dir() else file).read_text(encoding="utf-8", errors="replace")

    def create(self, model: str, name: str, text: str) -> bool:
        """See `AuditStore`."""
        directory = self._directory(model)
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory, prefix=".") as scratch:
            whole = Path(scratch) / "entry" / _ENTRY
            whole.parent.mkdir()
            with whole.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fchmod(file.fileno(), 0o444)  # every account may read it, none may change it
                os.fsync(file.fileno())
            if not _take_name(whole, directory / name):
                return False
        _sync_directory(directory)  # else the registry may remember an entry that a power cut has lost
        return True

    def _directory(self, model: str) -> Path:
        return self.root / quote(model, safe=" ")


def _take_name(whole: Path, target: Path) -> bool:
    """Give a file its name unless that is taken, in one step; False if it is.

    By a link, which fails where the name is taken, unlike the renaming of a file. Where a file system has no
    links, the directory that the file is in takes the name: no directory can be renamed over another with
    files in it, nor over a file.
    """
    try:
        os.link(whole, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise
        whole.parent.chmod(0o755)
        try:
            whole.parent.rename(target)
        except OSError as taken:
            if taken.errno not in _TAKEN:
                raise
            return False
    return True


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
