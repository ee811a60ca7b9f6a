"""Hooks that all tests share."""

import os

import pytest
from builders import wants_gpu

from apo_core.system.environment import disable_telemetry, show_gpus
from apo_core.system.imports import quick_imports


def pytest_configure(config):
    disable_telemetry()
    if not wants_gpu(config.option.markexpr, os.environ):
        # Before torch is imported, and for every process that a test starts: what is held to the bit on a
        # processor is rounded otherwise on a GPU.
        show_gpus("")


def pytest_collection_modifyitems(config, items):
    if wants_gpu(config.option.markexpr, os.environ):
        return
    left_out = [item for item in items if item.get_closest_marker("gpu")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Collect with quick imports: test modules import every library of the project."""
    with quick_imports():
        return (yield)
