"""The table of environment variables, and the rule that no other module sets any."""

import ast
import getpass
import os
import pwd
import re
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from apo_core.system import environment
from apo_core.system.environment import (
    TELEMETRY,
    as_env,
    clear_rank_env,
    disable_telemetry,
    engine_env,
    make_sound,
    prepare_vllm,
    use_expandable_segments,
)

ROOT = Path(__file__).parents[4]
WRITERS = {"setdefault", "update", "pop", "popitem", "clear", "__setitem__", "__delitem__"}
MODULES = [
    file
    for folder in ("apo_core", "tasks", "flows", "benchmarks")
    for file in (ROOT / folder).rglob("*.py")
    if file != Path(environment.__file__)
]


def is_environ(node: ast.AST) -> bool:
    named = isinstance(node, ast.Attribute) and node.attr == "environ"
    return named or (isinstance(node, ast.Name) and node.id == "environ")


def writes(tree: ast.AST) -> list[int]:
    """Numbers of the lines that change `os.environ`."""
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load) and is_environ(node.value):
            lines.append(node.lineno)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            changes = node.func.attr in WRITERS and is_environ(node.func.value)
            if changes or node.func.attr in ("putenv", "unsetenv"):
                lines.append(node.lineno)
        elif isinstance(node, ast.AugAssign) and is_environ(node.target):
            lines.append(node.lineno)
    return lines


@pytest.mark.parametrize(
    "line",
    [
        "os.environ['A'] = 'b'",
        "del os.environ['A']",
        "os.environ.setdefault('A', 'b')",
        "environ.pop('A')",
        "os.environ |= {}",
        "os.putenv('A', 'b')",
    ],
)
def test_a_write_is_seen(line):
    assert writes(ast.parse(line)) == [1]


def test_nothing_else_writes_the_environment():
    environment_writes = {str(file): writes(ast.parse(file.read_text())) for file in MODULES}
    assert {file: lines for file, lines in environment_writes.items() if lines} == {}


def test_no_telemetry_variable_is_named_elsewhere():
    names = re.compile("|".join(variable.name for variable in TELEMETRY))
    assert [str(file) for file in MODULES if names.search(file.read_text())] == []


def test_a_variable_of_the_user_stays(monkeypatch):
    monkeypatch.setenv("DO_NOT_TRACK", "0")
    monkeypatch.delenv("DVC_NO_ANALYTICS", raising=False)
    disable_telemetry()
    assert (os.environ["DO_NOT_TRACK"], os.environ["DVC_NO_ANALYTICS"]) == ("0", "1")


def test_the_image_switches_off_what_python_does():
    """Its servers run without our code."""
    text = (ROOT / "docker/Dockerfile").read_text()
    own = {variable.name for variable in TELEMETRY} - {"RAY_USAGE_STATS_ENABLED", "VLLM_NO_USAGE_STATS"}
    assert {
        name: value for name, value in as_env(TELEMETRY).items() if f"{name}={value}" in text
    }.keys() == own


@pytest.mark.parametrize(("before", "after"), [(None, "ieee"), ("tf32", "tf32")])
def test_vllm_multiplies_float32_exactly_unless_the_user_wants_it_otherwise(own_environment, before, after):
    own_environment.pop("TRITON_F32_DEFAULT", None)
    if before is not None:
        own_environment["TRITON_F32_DEFAULT"] = before
    prepare_vllm()
    assert own_environment["TRITON_F32_DEFAULT"] == after


def test_an_engine_is_no_rank_and_sees_its_gpu(monkeypatch):
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-7")
    before = dict(os.environ)
    with engine_env(1):
        assert "RANK" not in os.environ
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-7"
    assert dict(os.environ) == before


def test_a_rank_is_forgotten_whole(monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "1")
    clear_rank_env()
    assert not [name for name in os.environ if name.endswith(("RANK", "WORLD_SIZE", "MASTER_PORT"))]


@pytest.fixture
def own_environment(monkeypatch):
    """An environment that a test may change as it likes."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    return os.environ


def test_what_compose_and_git_leave_is_not_taken_for_settings(own_environment):
    own_environment |= {
        "MLFLOW_TRACKING_URI": "",
        "PREFECT_API_URL": "",
        "GIT_DIR": "/other/.git",
        "EDITOR": "",
    }
    own_environment |= {"AWS_PROFILE": "mine"}
    make_sound()
    assert not {"MLFLOW_TRACKING_URI", "PREFECT_API_URL", "GIT_DIR"} & set(own_environment)
    assert (own_environment["EDITOR"], own_environment["AWS_PROFILE"]) == ("", "mine")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"HTTPS_PROXY": "http://p:1"}, "127.0.0.1,localhost,::1"),
        ({"http_proxy": "http://p:1", "no_proxy": "a.b"}, "a.b,127.0.0.1,localhost,::1"),
        ({"all_proxy": "http://p:1", "NO_PROXY": "*"}, None),
        ({}, None),
    ],
)
def test_no_proxy_is_asked_for_servers_of_this_machine(own_environment, before, after):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        own_environment.pop(name, None)
        own_environment.pop(name.upper(), None)
    own_environment |= before
    make_sound()
    assert own_environment.get("no_proxy", before.get("no_proxy")) == (after or before.get("no_proxy"))
    assert own_environment.get("NO_PROXY") == (after or before.get("NO_PROXY"))


def test_an_account_without_a_name_has_one(own_environment, monkeypatch):
    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("USER", "LOGNAME", "LNAME", "USERNAME"):
        own_environment.pop(name, None)
    make_sound()
    assert getpass.getuser() == f"user{os.getuid()}"


def test_a_home_that_may_not_be_entered_is_replaced(own_environment, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    own_environment["HOME"] = "/nobody/knows"
    make_sound()
    assert Path(own_environment["HOME"]).parent == tmp_path
    assert Path(own_environment["HOME"]).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"])
def test_segments_grow_unless_the_user_has_said_how_memory_is_allocated(own_environment, name):
    for known in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"):
        own_environment.pop(known, None)
    use_expandable_segments()
    assert own_environment.pop("PYTORCH_ALLOC_CONF") == "expandable_segments:True"
    own_environment[name] = "max_split_size_mb:64"
    use_expandable_segments()
    assert own_environment[name] == "max_split_size_mb:64"
    assert {"PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"} & set(own_environment) == {name}


@pytest.mark.slow
@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed; `make vllm` installs it")
def test_vllm_spawns_its_processes():
    """As vLLM itself answers, which by default forks: here, where no platform has a say in it yet."""
    script = """
from apo_core.system.environment import prepare_vllm
from apo_core.sampling.vllm_sampler import VllmSampler  # brings no vLLM that had read the environment before
import sys
assert not any(name.split(".")[0] == "vllm" for name in sys.modules)
prepare_vllm()
from vllm.utils.system_utils import get_mp_context
print(get_mp_context().get_start_method())
"""
    env = {name: value for name, value in os.environ.items() if not name.startswith("VLLM_")}
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1:] == ["spawn"], done.stderr
