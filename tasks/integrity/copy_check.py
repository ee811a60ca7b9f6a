"""Look at every copy of what stages wrote, and put whole ones in the place of damaged ones."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from apo_core.system.files import replacing
from tasks.integrity.aside import put_aside
from tasks.integrity.check import NOTHING, Damage, is_as_written
from tasks.integrity.copies import CopyStore
from tasks.integrity.finding import Finding
from tasks.integrity.recorded import Recorded, listing, md5_of, md5s_in
from tasks.workspace import Workspace


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

    def check(self, output: Recorded) -> Iterator[Finding]:
        """Look at the copies of a file; of a directory: of the list of its files, and of each of them."""
        own = self.workspace.root / output.path
        if not output.is_directory:
            yield from self._check_object(output, output.path, output.md5, own if own.exists() else None)
            return
        listed = self._files_of(output)
        if listed is None:
            yield from self._without_list(output)
            return
        with tempfile.TemporaryDirectory() as scratch:
            whole = Path(scratch) / "list"
            whole.write_bytes(listing(listed))
            yield from self._check_object(output, output.path, output.md5, None, whole)
        for name, md5 in listed.items():
            file = own / name if own.is_dir() else None
            yield from self._check_object(output, f"{output.path}/{name}", md5, file)
        yield from self._unknown_files(output, listed)

    def check_earlier(self) -> Iterator[Finding]:
        """Look at what else DVC's cache has, of earlier runs: DVC would restore it."""
        for md5 in self.cache.names():
            actual = None if md5 in self.seen else self.cache.actual(md5)
            if actual in (None, md5.removesuffix(".dir")):
                continue
            done = ""
            if self.mend:
                with self._whole(md5, None) as whole:
                    done = self._mend_copy(self.cache, md5, whole) or "moved away: its stage would run again"
            yield Finding("cache", f"{md5}, of an earlier run: found md5 {actual}", done, "apo fsck")

    def _files_of(self, output: Recorded) -> dict[str, str] | None:
        """The files of a directory with their hashes; None where no whole list of them is left."""
        if is_as_written(self.workspace, output):
            return md5s_in(self.workspace.root / output.path)
        lists = (store.listing(output.md5) for store in self._stores)
        return next((listed for listed in lists if listed is not None), None)

    @property
    def _stores(self) -> list[CopyStore]:
        return [self.cache] if self.remote is None else [self.cache, self.remote]

    def _check_object(
        self, output: Recorded, file: str, md5: str, own: Path | None, whole: Path | None = None
    ) -> Iterator[Finding]:
        """Look at the copies of a file.

        Args:
            output: that the file is, or is in.
            file: its path below the workspace.
            md5: its hash as recorded.
            own: where it should lie in the workspace; None where its output is not there.
            whole: a file with the bytes as recorded, if one is at hand.
        """
        self.seen.add(md5)
        actual = md5 if own is None else md5_of(own) if own.is_file() else NOTHING
        damaged = self._damaged(md5)
        if actual == md5 and not damaged:
            return
        with self._whole(md5, own if own is not None and actual == md5 else whole) as source:
            for store, copied in damaged:
                problem = Damage(output.stage, file, md5, copied)
                done = self._mend_copy(store, md5, source) if self.mend else ""
                yield self._finding(store.name, problem, done)
            if actual != md5 and own is not None:
                problem = Damage(output.stage, file, md5, actual)
                yield self._finding("workspace", problem, self._mend_own(own, source) if self.mend else "")

    def _damaged(self, md5: str) -> list[tuple[CopyStore, str]]:
        """Where a copy is damaged, with the hash that it has: every copy is read once."""
        copies = [(store, store.actual(md5)) for store in self._stores]
        whole = md5.removesuffix(".dir")
        return [(store, actual) for store, actual in copies if actual is not None and actual != whole]

    def _finding(self, store: str, damage: Damage, mended: str) -> Finding:
        advice = f"`apo run --force {damage.stage}`" if self.mend else "`apo fsck`"
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

    def _mend_copy(self, store: CopyStore, md5: str, whole: Path | None) -> str:
        store.drop(md5, self.workspace.damaged)
        if whole is None:
            return ""
        store.put(whole, md5)
        return "replaced by a whole copy"

    def _mend_own(self, own: Path, whole: Path | None) -> str:
        if whole is None:
            return ""
        self._put_aside(own)
        with replacing(own) as temporary:
            shutil.copyfile(whole, temporary)
        return "replaced by a whole copy"

    def _put_aside(self, own: Path) -> None:
        if own.exists():
            put_aside(self.workspace, own, f"workspace/{own.relative_to(self.workspace.root)}")

    def _unknown_files(self, output: Recorded, listed: dict[str, str]) -> Iterator[Finding]:
        """Files of a directory that its stage did not write."""
        own = self.workspace.root / output.path
        for name, actual in md5s_in(own).items() if own.is_dir() else ():
            if name not in listed:
                if self.mend:
                    self._put_aside(own / name)
                damage = Damage(output.stage, f"{output.path}/{name}", NOTHING, actual)
                yield self._finding("workspace", damage, "moved away" if self.mend else "")

    def _without_list(self, output: Recorded) -> Iterator[Finding]:
        """A directory of which nobody knows any more what was in it."""
        own = self.workspace.root / output.path
        for store, copied in self._damaged(output.md5):
            damage = Damage(output.stage, output.path, output.md5, copied)
            done = self._mend_copy(store, output.md5, None) if self.mend else ""
            yield self._finding(store.name, damage, done)
        if own.exists():
            yield self._finding("workspace", Damage(output.stage, output.path, output.md5, md5_of(own)), "")
