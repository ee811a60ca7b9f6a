"""Requests to a hub: retried while it is unreachable, not retried when it refuses."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

ASK = """
from tasks.prompts.hub import HubDataset
from apo_core.errors import StageFailed
try:
    HubDataset("hf:somebody/prompts").version()
except StageFailed as error:
    print("failed:", error)

from apo_core.config import Reference, Scratch
from apo_core.errors import ApoError
from tasks.stages.reference import _from_hub
reference = Reference.model_construct(source="hub", name="somebody/model", revision=None)
try:
    _from_hub(reference, False)
except ApoError as error:
    print("refused:", error)
except OSError as error:
    print("crashed:", type(error).__name__)
"""


def said(tmp_path, **variables):
    """What a process says that asks where nobody listens: libraries read such variables once."""
    environment = dict(os.environ) | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    environment.pop("HF_HUB_OFFLINE", None)
    done = subprocess.run(
        [sys.executable, "-c", ASK], env=environment | variables, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_a_hub_that_is_away_is_no_refusal(tmp_path):
    failed, crashed = said(tmp_path)
    assert failed.startswith("failed: hf:somebody/prompts: cannot be reached: ")
    assert crashed == "crashed: LocalEntryNotFoundError"


def test_without_a_network_what_is_not_here_is_refused(tmp_path):
    *_, refused = said(tmp_path, HF_HUB_OFFLINE="1")
    assert refused.startswith("refused: hub: somebody/model: is not in the cache, and HF_HUB_OFFLINE is set")
