"""Whether this machine and this workspace can run the pipeline."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.metadata import PackageNotFoundError, requires, version

import psutil
from packaging.requirements import Requirement

from apo_core.config import Params
from apo_core.errors import ApoError, StageFailed
from flows.doctor.inputs import Finding, examine_inputs
from flows.doctor.shared_memory import examine_shared_memory
from tasks.decisions.log import VARIABLE, open_store
from tasks.dvc.state import pending
from tasks.lock import refuse_second_run
from tasks.tracking.store import check_schema, check_server, is_remote, tracking_uri, without_password
from tasks.workspace import Workspace

_MIN_FREE_GIB = 2.0


def examine_machine(workspace: Workspace) -> list[Finding]:
    """Look at Python, packages, devices, memory and disk."""
    return [_python(), _packages(), _devices(), _memory(), _disk(workspace)]


def examine_workspace(workspace: Workspace, params: Params) -> list[Finding]:
    """Look at inputs, the state of the stages, the tracking store and the log of decisions."""
    findings = examine_inputs(workspace, params)
    if all(finding.good for finding in findings if finding.subject in ("prompts", "model")):
        from flows.doctor.model import examine_model  # with transformers, which takes seconds

        findings.append(examine_model(workspace, params))
    findings.append(examine_shared_memory(params))
    return [*findings, _dvc(workspace), _tracking(workspace), _decisions(workspace)]


def _decisions(workspace: Workspace) -> Finding:
    address = os.environ.get(VARIABLE, "") or f"{workspace.state / 'audit'}"
    try:
        open_store(workspace)
    except (ApoError, StageFailed) as error:
        return Finding("decisions", False, str(error))
    return Finding("decisions", True, address)


def _python() -> Finding:
    running = sys.version.split()[0]
    return Finding(
        "python", (3, 11) <= sys.version_info[:2] <= (3, 13), f"{running} (3.11 to 3.13 are tested)"
    )


def _packages() -> Finding:
    wrong = [
        problem
        for text in requires("apo-flow") or []
        if (problem := _package_problem(Requirement(text))) is not None
    ]
    return Finding("packages", not wrong, ", ".join(wrong) or "as pyproject.toml asks")


def _package_problem(requirement: Requirement) -> str | None:
    if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
        return None
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        return f"{requirement.name} is missing"
    fits = requirement.specifier.contains(installed, prereleases=True)
    return None if fits else f"{requirement.name} is {installed}, not {requirement.specifier}"


def _devices() -> Finding:
    import torch

    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return Finding("devices", True, ", ".join(names) or f"no GPU, {torch.get_num_threads()} CPU threads")


def _memory() -> Finding:
    memory = psutil.virtual_memory()
    return Finding(
        "memory",
        memory.available > _MIN_FREE_GIB * 2**30,
        f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free",
    )


def _disk(workspace: Workspace) -> Finding:
    free = shutil.disk_usage(workspace.root).free / 2**30
    return Finding("disk", free > _MIN_FREE_GIB, f"{free:.1f} GiB free below {workspace.root.resolve()}")


def _dvc(workspace: Workspace) -> Finding:
    try:
        refuse_second_run(workspace)  # DVC would be busy, and not say with what
    except ApoError as run:
        return Finding("dvc", True, str(run))
    try:
        changed = pending(workspace.root)
    except ApoError as error:
        return Finding("dvc", False, str(error))
    return Finding("dvc", True, f"to run: {', '.join(changed)}" if changed else "everything is up to date")


def _tracking(workspace: Workspace) -> Finding:
    uri = tracking_uri(workspace)
    try:
        check_server(workspace)
        check_schema(workspace)
    except ApoError as error:
        return Finding("tracking", False, str(error))
    return Finding("tracking", True, without_password(uri) if is_remote(uri) else uri)
