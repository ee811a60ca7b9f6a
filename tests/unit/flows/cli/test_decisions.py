"""Decision commands when there is nothing to decide on."""

import pytest

from apo_core.errors import ApoError
from flows.cli import decisions

DECIDED = {"by": "Ada", "reason": "why"}


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (decisions.approve, {"model": "m", "version": "1", **DECIDED}),
        (decisions.reject, {"model": "m", "version": "1", **DECIDED}),
        (decisions.rollback, {"model": "m", "to": None, **DECIDED}),
        (decisions.reconcile, {"model": "m"}),
        (decisions.audit, {"model": "m"}),
        (decisions.lineage, {"spec": "m"}),
    ],
    ids=lambda arguments: getattr(arguments, "__name__", ""),
)
def test_a_directory_without_a_registry_is_left_as_it_is(command, arguments, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ApoError, match=r"no run has been recorded here; is it the workspace \(-w\)\?"):
        command(**arguments, workspace=tmp_path)
    assert list(tmp_path.iterdir()) == []
