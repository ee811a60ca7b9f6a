"""`prefect.yaml` names flows that exist, with parameters that they have."""

import inspect
from importlib import import_module

import pytest
from builders import ROOT
from ruamel.yaml import YAML

FILE = ROOT / "prefect.yaml"
WHOLE = YAML(typ="safe").load(FILE.read_text())
DEPLOYMENTS = {one["entrypoint"].rpartition(".")[2]: one for one in WHOLE["deployments"]}


def flow_of(deployment):
    module, _, name = deployment["entrypoint"].rpartition(".")
    return getattr(import_module(module), name)


def test_what_people_come_for_is_there():
    assert set(DEPLOYMENTS) == {"pipeline", "approve", "rollback", "reconcile", "tell"}


@pytest.mark.parametrize("name", list(DEPLOYMENTS))
def test_every_deployment_can_be_run(name):
    deployment, flow = DEPLOYMENTS[name], flow_of(DEPLOYMENTS[name])
    assert flow.name == name
    # `approve/MODEL` is asked for by that name; and two workspaces on one server are apart.
    assert deployment["name"] == "{{ $APO_MODEL }}"
    assert deployment["pull"]  # or `prefect deploy` cannot read the entrypoint
    # A run imports nothing from the directory it works in: see tests/integration/test_hostile_workspace.py.
    assert deployment["work_pool"]["job_variables"]["env"]["PYTHONSAFEPATH"] == "1"
    parameters = inspect.signature(flow.fn).parameters
    given = set(deployment.get("parameters", {}))
    assert given <= set(parameters)
    wanted = {key for key, value in parameters.items() if value.default is inspect.Parameter.empty}
    # What has a schedule runs without anybody to fill parameters in, and so does what a trigger starts.
    assert not deployment.get("schedules") or wanted <= given
    for trigger in deployment.get("triggers", []):
        assert wanted <= given | set(trigger["parameters"]) <= set(parameters)


def test_all_but_the_teller_are_told_of():
    """By the model's tag; a teller that failed would be told of by another, and so on."""
    (tell,) = [one for one in DEPLOYMENTS.values() if one.get("triggers")]
    told = set()
    for trigger in tell["triggers"]:
        tag, flow = trigger["match_related"]
        assert tag == {"prefect.resource.role": "tag", "prefect.resource.id": "prefect.tag.{{ $APO_MODEL }}"}
        names = flow["prefect.resource.name"]
        told |= {names} if isinstance(names, str) else set(names)
    assert told == {name for name, one in DEPLOYMENTS.items() if one.get("tags") == ["{{ $APO_MODEL }}"]}
    assert told == set(DEPLOYMENTS) - {"tell"}


def test_one_run_of_a_workspace_at_a_time():
    assert DEPLOYMENTS["pipeline"]["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}


def test_no_answer_of_the_form_has_a_default():
    from flows.approval import Answer

    assert all(field.is_required() for field in Answer.model_fields.values())
    assert set(Answer.model_fields) == {"approver", "decision", "reason"}
