"""`apo deploy` on a real Prefect server: all of it or nothing, and again without doubles."""

import json
import urllib.request

import pytest
from conftest import execute

MODEL = "apo-deploy"


@pytest.fixture(scope="module")
def settings(services, tmp_path_factory):
    base = tmp_path_factory.mktemp("settings")
    return {
        "PREFECT_API_URL": services.site().variables["PREFECT_API_URL"],
        "PREFECT_HOME": str(base / "prefect"),
        "APO_REPOSITORY": (base / "repository").as_uri(),
        "APO_BRANCH": "main",
        "APO_WORKSPACE": ".",
        "APO_MODEL": MODEL,
        "APO_WORK_POOL": MODEL,
    }


@pytest.fixture(scope="module")
def place(settings, tmp_path_factory):
    made = tmp_path_factory.mktemp("deploy") / "workspace"
    execute(f"apo init {made} --preset ci", made.parent)
    execute(f"prefect --no-prompt work-pool create {MODEL} --type process", made, settings=settings)
    return made


def api(settings, path, body=None):
    """Prefect's REST API: what a filter finds."""
    data = json.dumps(body or {}).encode()
    request = urllib.request.Request(
        f"{settings['PREFECT_API_URL']}/{path}/filter", data, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


@pytest.mark.parametrize(
    "missing", [("APO_MODEL",), ("APO_BRANCH", "APO_WORK_POOL"), ("PREFECT_API_URL",)], ids=" ".join
)
def test_what_is_not_set_is_named_and_nothing_is_deployed(place, settings, missing):
    before = api(settings, "deployments")
    given = {name: value for name, value in settings.items() if name not in missing}
    done = execute("apo deploy", place, check=False, settings=given)
    assert done.returncode == 2
    (line,) = done.stdout.splitlines()
    assert line == f"error: prefect.yaml: not set: {', '.join(missing)}; nothing is deployed"
    assert api(settings, "deployments") == before
    assert not [one for one in before if one["name"] == MODEL]
