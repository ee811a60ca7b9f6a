"""What the confirmation of a policy is asked for, and where it finds and leaves files."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from apo_core.system.files import write_json
from tasks.workspace import CONFIRM, Workspace

MODEL, MODEL_PARAMS = "model", "params.yaml"
"""Of the champion, in `champion_files`."""
OF_CHAMPION = "what the champion needs: "
"""Begins a refusal that is neither of the policy nor of the workspace."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """Whom to ask afresh beside the reference."""

    policy_sha256: str
    """Hash of the workspace's policy, which is the seed."""
    champion: str | None
    """The champion's `NAME/VERSION/RUN`, if there is one."""

    @classmethod
    def read(cls, workspace: Workspace) -> Self:
        """The request that was written last."""
        return cls(**json.loads(_file(workspace).read_text(encoding="utf-8")))

    def write(self, workspace: Workspace) -> None:
        """Leave the request for the process."""
        write_json(_file(workspace), asdict(self))


def champion_files(workspace: Workspace) -> Path:
    """Where the champion is downloaded to, for as long as it is asked."""
    return workspace.work("champion")


def answers(workspace: Workspace) -> Path:
    """Table `tables.EVALUATIONS`, the request in its metadata."""
    return workspace.work("confirmation.parquet")


def _file(workspace: Workspace) -> Path:
    return workspace.work(CONFIRM).with_suffix(".json")
