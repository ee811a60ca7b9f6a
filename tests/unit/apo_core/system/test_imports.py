import subprocess
import sys

import pytest

from apo_core.system.imports import hidden


def test_what_is_hidden_cannot_be_imported_and_can_afterwards(monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with hidden("colorsys"), pytest.raises(ImportError):
        import colorsys
    import colorsys

    assert colorsys.rgb_to_hsv(0, 0, 0) == (0, 0, 0)


def test_what_was_there_before_stays():
    import json

    with hidden("json"):
        import json as again
    assert again is json


@pytest.mark.slow
def test_training_does_not_import_mlflow():
    code = (
        "import sys; from apo_core.training.engine import start_engine, _import_deepspeed;"
        "_import_deepspeed(); assert 'mlflow' not in sys.modules, 'there'; import mlflow"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True)
