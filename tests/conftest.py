"""Hooks that all tests share."""

import pytest

from apo_core.system.environment import disable_telemetry
from apo_core.system.imports import quick_imports


def pytest_configure():
    disable_telemetry()


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Collect with quick imports: test modules import every library of the project."""
    with quick_imports():
        return (yield)
