"""Every fault, by subject."""

from __future__ import annotations

from pathlib import Path

from faults import (
    faults_of_bytes,
    faults_of_environments,
    faults_of_files,
    faults_of_paths,
    faults_of_registries,
    faults_of_s3,
    faults_of_servers,
)
from faults.fault import Fault


def all_faults(scratch: Path) -> list[Fault]:
    """Every fault; `scratch` is for libraries that are compiled."""
    return [
        *faults_of_bytes.faults(),
        *faults_of_files.faults(),
        *faults_of_paths.faults(scratch),
        *faults_of_registries.faults(),
        *faults_of_environments.faults(scratch),
        *faults_of_servers.faults(),
        *faults_of_s3.faults(),
    ]
