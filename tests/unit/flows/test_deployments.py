"""`prefect.yaml` names flows that exist, with parameters that they have."""

import inspect
from importlib import import_module

import pytest
from builders import ROOT
from ruamel.yaml import YAML

FILE = ROOT / "prefect.yaml"
WHOLE = YAML(typ="safe").load(FILE.read_text())
DEPLOYMENTS = {deployment["entrypoint"].rpartition(".")[2]: deployment for deployment in WHOLE["deployments"]}


def flow_of(deployment):
    module, _, name = deployment["entrypoint"].rpartition(".")
    return getattr(import_module(module), name)


def test_what_people_come_for_is_there():
    assert set(DEPLOYMENTS) == {"pipeline", "approve", "rollback", "reconcile", "alert"}


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
    set_by_file = set(deployment.get("parameters", {}))
    assert set_by_file <= set(parameters)
    required = {key for key, value in parameters.items() if value.default is inspect.Parameter.empty}
    # What has a schedule runs without anybody to fill parameters in, and so does what a trigger starts.
    assert not deployment.get("schedules") or required <= set_by_file
    for trigger in deployment.get("triggers", []):
        assert required <= set_by_file | set(trigger["parameters"]) <= set(parameters)


def test_the_failure_of_every_flow_is_sent_except_that_of_the_alert():
    """Triggers match the model's tag and the flows' names; a failed alert must not cause another alert."""
    (alert,) = [deployment for deployment in DEPLOYMENTS.values() if deployment.get("triggers")]
    watched = set()
    for trigger in alert["triggers"]:
        tag, flow = trigger["match_related"]
        assert tag == {"prefect.resource.role": "tag", "prefect.resource.id": "prefect.tag.{{ $APO_MODEL }}"}
        names = flow["prefect.resource.name"]
        watched |= {names} if isinstance(names, str) else set(names)
    tagged = [name for name, deployment in DEPLOYMENTS.items() if deployment.get("tags")]
    assert all(DEPLOYMENTS[name]["tags"] == ["{{ $APO_MODEL }}"] for name in tagged)
    assert watched == set(tagged) == set(DEPLOYMENTS) - {"alert"}


def test_one_run_of_a_workspace_at_a_time():
    assert DEPLOYMENTS["pipeline"]["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}


def test_no_answer_of_the_form_has_a_default():
    from flows.approval import Answer

    assert all(field.is_required() for field in Answer.model_fields.values())
    assert set(Answer.model_fields) == {"approver", "decision", "reason"}
