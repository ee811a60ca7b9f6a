"""The paths of a workspace; `dvc.yaml` names the same paths, and a test compares them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from apo_core.errors import ApoError
from apo_core.system.files import require_space

_SQLITE_PATH = 512  # bytes of the longest path that sqlite opens
_LONGEST_NAME = len("/prefect.db-journal")
_NOT_FOR_DVC = "\\{}"  # a separator of another system to DVC, and what its progress bars read as a field
_RECORDS_MIB = 16.0  # free where databases and logs are
# What every run writes: one `sudo apo run` may have left a part that others cannot write.
_WRITTEN = (
    *(
        ".",
        ".apo",
        ".apo/logs",
        ".apo/run.lock",
        ".apo/prefect",
        ".apo/prefect/prefect.db",
        ".apo/mlflow.db",
        ".apo/mlartifacts",
    ),
    *(".dvc", ".dvc/tmp", ".dvc/cache", "data", "data/unfinished", "reports", "reports/stages"),
)
CONFIRM = "confirm"  # a process like a stage's, which `dvc.yaml` does not know: it depends on the registry
STAGES = ("reference", "prepare", "validate", "sample", "values", "train", "evaluate", "report")


@dataclass(frozen=True)
class Workspace:
    """A directory with `params.yaml` and `dvc.yaml`. Paths are relative to the process where root is `.`."""

    root: Path

    @classmethod
    def at(cls, path: Path | str) -> Self:
        """The workspace of a directory, by its absolute path."""
        return cls(Path(path).resolve())

    @property
    def params(self) -> Path:
        """The configuration."""
        return self.root / "params.yaml"

    @property
    def lock(self) -> Path:
        """DVC's record of what was made from what."""
        return self.root / "dvc.lock"

    @property
    def raw_prompts(self) -> Path:
        """The user's files of prompts, and the mirrors of remote prompts."""
        return self.root / "data/raw/prompts"

    @property
    def raw_verifiers(self) -> Path:
        """The user's own verifiers, Python modules."""
        return self.root / "data/raw/verifiers"

    @property
    def raw_model(self) -> Path:
        """The user's model directory."""
        return self.root / "data/raw/model"

    @property
    def reference(self) -> Path:
        """The reference policy's model directory."""
        return self.root / "data/reference"

    @property
    def prompts(self) -> Path:
        """Table `tables.PROMPTS`."""
        return self.root / "data/prompts.parquet"

    @property
    def samples(self) -> Path:
        """Table `tables.SAMPLES`."""
        return self.root / "data/samples.parquet"

    @property
    def values(self) -> Path:
        """Table `tables.VALUES`."""
        return self.root / "data/values.parquet"

    @property
    def policy(self) -> Path:
        """The trained policy's model directory."""
        return self.root / "data/policy"

    @property
    def metrics(self) -> Path:
        """One JSON object per training step."""
        return self.root / "data/metrics.jsonl"

    @property
    def evaluations(self) -> Path:
        """Table `tables.EVALUATIONS`."""
        return self.root / "data/evaluations.parquet"

    @property
    def evaluation(self) -> Path:
        """The evaluation's figures with their intervals."""
        return self.root / "reports/eval.json"

    @property
    def examples(self) -> Path:
        """Responses of reference and policy for people to read."""
        return self.root / "reports/samples.md"

    @property
    def report(self) -> Path:
        """What stage `report` concluded, before the model is registered."""
        return self.root / "reports/report.json"

    @property
    def plots(self) -> Path:
        """Plots of the values, the training and the evaluation."""
        return self.root / "reports/plots"

    @property
    def summary(self) -> Path:
        """Report, registry and lineage in one object: what other programs read."""
        return self.root / "reports/summary.json"

    @property
    def state(self) -> Path:
        """Local services' databases; nothing here is an input of any stage."""
        return self.root / ".apo"

    @property
    def prefect_home(self) -> Path:
        """Prefect's own files, where the user has no other place for them."""
        return self.state.resolve() / "prefect"

    @property
    def kept_lock(self) -> Path:
        """A copy of the last whole `dvc.lock`."""
        return self.state / "dvc.lock.kept"

    @property
    def damaged(self) -> Path:
        """Where files go whose bytes are not what the record says: a directory of this minute."""
        return self.state / "damaged" / time.strftime("%Y-%m-%d-%H-%M")

    def facts(self, stage: str) -> Path:
        """Seconds, memory and counts of a stage's last real run."""
        return self.root / f"reports/stages/{stage}.json"

    def validation(self, table: str) -> Path:
        """The verdicts on `prompts`, `samples` or `values`, or the pairs of `contamination`."""
        return self.root / f"reports/validation/{table}.json"

    def work(self, stage: str) -> Path:
        """Shards or checkpoints of an unfinished stage; they survive a kill and are no output."""
        return self.root / "data/unfinished" / stage


def check_path(workspace: Workspace) -> None:
    """Refuse a path below which sqlite does not find its files again.

    Raises:
        ApoError: names the path, and what to do.
    """
    root = workspace.root.resolve()
    if "?" in str(root):
        raise ApoError(f"{root}: has a `?` in its path, where sqlite's addresses end; move the workspace")
    longest = len(os.fsencode(workspace.prefect_home)) + _LONGEST_NAME
    if longest > _SQLITE_PATH:
        raise ApoError(
            f"{root}: its path is {longest - _SQLITE_PATH} bytes too long: sqlite takes "
            f"{_SQLITE_PATH} for a whole path; move the workspace"
        )


def check_writable(workspace: Workspace) -> None:
    """Refuse to begin what writes where nothing can be written.

    Raises:
        ApoError: names the directory, and what to do.
    """
    check_path(workspace)
    root = str(workspace.root.resolve())
    unsuited = next((character for character in _NOT_FOR_DVC if character in root), None)
    if unsuited is not None:
        raise ApoError(f"{root}: has a `{unsuited}` in its path, which DVC does not take; move the workspace")
    locks = workspace.work("").glob("*.lock")
    for path in (*(workspace.root / name for name in _WRITTEN), *locks):
        if path.exists() and not os.access(path, os.W_OK):
            owner = path.stat().st_uid
            raise ApoError(
                f"{path.resolve()}: cannot be written by user {os.geteuid()} (it belongs to {owner}, "
                "or is mounted read-only); `apo status`, `apo audit` and `apo lineage` only look"
            )


def check_room(workspace: Workspace) -> None:
    """Refuse to begin a run where its records have no room: a full disk ends it by tracebacks of databases.

    Raises:
        DiskFull: names the directory.
    """
    workspace.state.mkdir(parents=True, exist_ok=True)
    require_space(workspace.state, _RECORDS_MIB, "what Prefect and MLflow record of a run")


def check_stages(names: Iterable[str]) -> None:
    """Refuse unknown stages.

    Raises:
        ApoError: a name is no stage.
    """
    for name in names:
        if name not in STAGES:
            raise ApoError(f"unknown stage {name!r}; there are {', '.join(STAGES)}")
