"""The registry and the log of decisions, for a command that a person waits for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from apo_core.errors import ApoError
from apo_core.system.environment import fail_soon, prepare_command
from flows.cli.errors import one_line
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from tasks.decisions.log import AuditStore


@contextmanager
def stores_of(workspace: Workspace) -> Iterator[tuple[MlflowClient, AuditStore]]:
    """The stores that a workspace or the environment names; none is made.

    Raises:
        ApoError: there is no registry here, or what is asked for in the block is refused or not answered.
    """
    from tasks.decisions.log import open_store
    from tasks.tracking.runs import connect, has_registry

    if not has_registry(workspace):
        raise ApoError(f"{workspace.root}: no run has been recorded here; is it the workspace (-w)?")
    prepare_command()
    fail_soon()
    with one_line():
        yield connect(workspace), open_store(workspace)
