"""Look at every copy of what stages wrote, and put whole ones in the place of damaged ones."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from apo_core.system.files import replacing
from tasks.integrity.aside import put_aside
from tasks.integrity.check import NOTHING, Damage, is_as_written
from tasks.integrity.copies import CopyStore
from tasks.integrity.finding import Finding
from tasks.integrity.recorded import Recorded, listing, md5_of, md5s_in
from tasks.workspace import Workspace

_REPLACED = "replaced by a whole copy"


@dataclass(frozen=True, kw_only=True)
class CopyCheck:
    """Compares the copies of outputs, in the workspace, DVC's cache and its remote, with their record.

    What is damaged is moved to `.apo/damaged`, never deleted.
    """

    workspace: Workspace
    """The caller holds its lock."""
    cache: CopyStore
    remote: CopyStore | None
    mend: bool
    """Put whole copies in the place of damaged ones, where there are any."""
    seen: set[str] = field(default_factory=set)
    """Hashes of the objects that were looked at."""

    def check(self, output: Recorded, *, is_current: bool = True) -> Iterator[Finding]:
        """Look at the copies of a file; of a directory: of the list of its files, and of each of them.

        Args:
            output: as `dvc.lock` has it.
            is_current: whether its stage still has the inputs that it is recorded with; else what lies in the
                workspace may be newer than the record, and is left as it is.
        """
        own = _Own(self.workspace.root / output.path, is_current)
        if not output.is_directory:
            yield from self._check_object(output, output.path, output.md5, own)
            return
        listed = self._files_of(output)
        if listed is None:
            yield from self._without_list(output, own)
            return
        with tempfile.TemporaryDirectory() as scratch:
            whole = Path(scratch) / "list"
            whole.write_bytes(listing(listed))
            yield from self._check_object(output, output.path, output.md5, None, whole)
        if own.path.is_dir():
            yield from self._unknown_files(output, own, listed)
        elif own.exists():  # a file has taken its name
            damage = Damage(output.stage, output.path, output.md5, md5_of(own.path))
            yield self._on_own(damage, own, self._move_away)
        put_back = own.exists() or self._has_all(listed.values())  # a part of a policy is none
        if not put_back and own.is_current:
            yield self._finding("workspace", Damage(output.stage, output.path, output.md5, NOTHING), "")
        for name, md5 in listed.items():
            file = own.below(name) if put_back else None
            yield from self._check_object(output, f"{output.path}/{name}", md5, file)

    def check_earlier(self) -> Iterator[Finding]:
        """Look at what else DVC's cache has, of earlier runs: DVC would restore it."""
        for md5 in self.cache.names():
            actual = None if md5 in self.seen else self.cache.actual(md5)
            if actual in (None, md5.removesuffix(".dir")):
                continue
            done = ""
            if self.mend:
                with self._whole(md5, None) as whole:
                    done = self._mend_copy(
                        self.cache, md5, whole, without="moved away: its stage would run again"
                    )
            yield Finding("cache", f"{md5}, of an earlier run: found md5 {actual}", done, "apo fsck")

    def _files_of(self, output: Recorded) -> dict[str, str] | None:
        """The files of a directory with their hashes; None where no whole list of them is left."""
        if is_as_written(self.workspace, output):
            return md5s_in(self.workspace.root / output.path)
        lists = (store.listing(output.md5) for store in self._stores)
        return next((listed for listed in lists if listed is not None), None)

    def _has_all(self, md5s: Iterable[str]) -> bool:
        """Whether a whole copy of each is left."""
        return all(any(store.is_whole(md5) for store in self._stores) for md5 in md5s)

    @property
    def _stores(self) -> list[CopyStore]:
        return [self.cache] if self.remote is None else [self.cache, self.remote]

    def _check_object(
        self, output: Recorded, file: str, md5: str, own: _Own | None, whole: Path | None = None
    ) -> Iterator[Finding]:
        """Look at the copies of a file.

        Args:
            output: that the file is, or is in.
            file: its path below the workspace.
            md5: its hash as recorded.
            own: where it should lie in the workspace; None where only its copies are looked at.
            whole: a file with the bytes as recorded, if one is at hand.
        """
        self.seen.add(md5)
        actual = md5 if own is None else own.md5()
        damaged = self._damaged(md5)
        if actual == md5 and not damaged:
            return
        with self._whole(md5, own.path if own is not None and actual == md5 else whole) as source:
            for store, copied in damaged:
                problem = Damage(output.stage, file, md5, copied)
                done = self._mend_copy(store, md5, source) if self.mend else ""
                yield self._finding(store.name, problem, done)
            if own is None or actual == md5 or (actual == NOTHING and not own.is_current):
                return
            problem = Damage(output.stage, file, md5, actual)
            yield self._on_own(problem, own, lambda own: self._mend_own(own, source))

    def _on_own(self, damage: Damage, own: _Own, mend: Callable[[_Own], str]) -> Finding:
        if not own.is_current:
            done = f"left as it is: stage {damage.stage} has other inputs than those recorded, and runs again"
        else:
            done = self._tried(lambda: mend(own)) if self.mend else ""
        return self._finding("workspace", damage, done)

    def _damaged(self, md5: str) -> list[tuple[CopyStore, str]]:
        """Where a copy is damaged, with the hash that it has: every copy is read once."""
        copies = [(store, store.actual(md5)) for store in self._stores]
        whole = md5.removesuffix(".dir")
        return [(store, actual) for store, actual in copies if actual is not None and actual != whole]

    def _finding(self, store: str, damage: Damage, mended: str) -> Finding:
        again = (
            "`apo run`" if damage.actual == NOTHING else f"`apo run --force {damage.stage}`"
        )  # DVC sees the gap
        advice = again if self.mend else "`apo fsck`"
        return Finding(store, str(damage), mended, advice)

    @contextmanager
    def _whole(self, md5: str, at_hand: Path | None) -> Iterator[Path | None]:
        """A file with the bytes of that hash; None where no copy is whole."""
        source = next((store for store in self._stores if at_hand is None and store.is_whole(md5)), None)
        if source is None:
            yield at_hand
            return
        with tempfile.TemporaryDirectory(dir=self.workspace.state) as scratch:
            file = Path(scratch) / md5
            source.take(md5, file)
            yield file

    def _mend_copy(self, store: CopyStore, md5: str, whole: Path | None, *, without: str = "") -> str:
        def mend() -> str:
            store.drop(md5, self.workspace.damaged)
            if whole is None:
                return without
            store.put(whole, md5)
            return _REPLACED

        return self._tried(mend)

    def _mend_own(self, own: _Own, whole: Path | None) -> str:
        if whole is None:
            return ""
        if own.exists():
            self._move_away(own)
        with replacing(own.path) as temporary:
            shutil.copyfile(whole, temporary)
        return _REPLACED

    def _move_away(self, own: _Own) -> str:
        name = f"workspace/{own.path.relative_to(self.workspace.root)}"
        put_aside(self.workspace, own.path, name)
        return "moved away"

    def _tried(self, mend: Callable[[], str]) -> str:
        """What was done; nothing where the disk, or the remote, does not let it be done."""
        try:
            return mend()
        except OSError:  # what is damaged stays to be seen
            return ""

    def _unknown_files(self, output: Recorded, own: _Own, listed: dict[str, str]) -> Iterator[Finding]:
        """Files of a directory that its stage did not write."""
        for name, actual in md5s_in(own.path).items():
            if name not in listed:
                damage = Damage(output.stage, f"{output.path}/{name}", NOTHING, actual)
                yield self._on_own(damage, own.below(name), self._move_away)

    def _without_list(self, output: Recorded, own: _Own) -> Iterator[Finding]:
        """A directory of which nobody knows any more what was in it."""
        for store, copied in self._damaged(output.md5):
            damage = Damage(output.stage, output.path, output.md5, copied)
            done = self._mend_copy(store, output.md5, None) if self.mend else ""
            yield self._finding(store.name, damage, done)
        if own.exists() or own.is_current:
            actual = md5_of(own.path) if own.exists() else NOTHING
            yield self._on_own(Damage(output.stage, output.path, output.md5, actual), own, lambda own: "")


class _Own(NamedTuple):
    """What lies in the workspace."""

    path: Path
    is_current: bool
    """Whether the record is of it."""

    def below(self, name: str) -> _Own:
        """A file of a directory."""
        return self._replace(path=self.path / name)

    def exists(self) -> bool:
        """Whether anything is there, a link into nothing and what may not be looked at included."""
        return os.path.lexists(self.path)

    def md5(self) -> str:
        """The hash of a file."""
        if self.path.is_dir():
            return "a directory"
        return md5_of(self.path) if self.exists() else NOTHING
