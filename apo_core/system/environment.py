"""The environment variables that steer libraries: value and reason of each, and a function for each occasion.

No other module writes `os.environ` (tested); what one child process alone is given (git's credentials, the
tag of a service) stands where that process is started. What the user has set stays, unless said otherwise.
"""

from __future__ import annotations

import os
import pwd
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from apo_core.errors import ApoError


class Variable(NamedTuple):
    """A variable and its value; `why` is for the reader."""

    name: str
    value: str
    why: str


TELEMETRY = (
    Variable("DO_NOT_TRACK", "1", "the convention that Prefect, vLLM and others follow"),
    Variable("DVC_NO_ANALYTICS", "1", "DVC sends a report after every command"),
    Variable("GX_ANALYTICS_ENABLED", "false", "Great Expectations sends events"),
    Variable("HF_HUB_DISABLE_TELEMETRY", "1", "the hub's client names its user's libraries"),
    Variable("MLFLOW_DISABLE_TELEMETRY", "true", "MLflow sends events"),
    Variable("PREFECT_SERVER_ANALYTICS_ENABLED", "false", "Prefect's server sends a heartbeat"),
    Variable("RAY_USAGE_STATS_ENABLED", "0", "Ray reports clusters"),
    Variable("VLLM_NO_USAGE_STATS", "1", "vLLM reports engines"),
)
STAGE = (
    Variable("OMP_WAIT_POLICY", "PASSIVE", "threads that spin while they wait take the cores from others"),
    Variable("HF_HUB_DISABLE_PROGRESS_BARS", "1", "bars are noise in a log"),
    Variable("TRANSFORMERS_VERBOSITY", "error", "a log holds what a person can use"),
    Variable("TOKENIZERS_PARALLELISM", "false", "it warns of forks"),
)
MLFLOW_CLIENT = (
    Variable("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false", "bars are noise in a log"),
    Variable("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2", "say after seconds, not minutes, that a server is away"),
)
MLFLOW_SERVER = (
    Variable("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false", "or it starts ten processes that hold 2.5 GB"),
)
PREFECT_SERVER = (
    Variable("PREFECT_SERVER_DATABASE_TIMEOUT", "60", "another program may hold its sqlite file for a while"),
)
STAGE_LOG = (Variable("PYTHONUNBUFFERED", "1", "lines are shown as they come"),)
VLLM_LOG = (Variable("VLLM_LOGGING_LEVEL", "ERROR", "a log holds what a person can use"),)
EXPANDABLE = (
    Variable(
        "PYTORCH_ALLOC_CONF", "expandable_segments:True", "batches of many lengths cut up a GPU's memory"
    ),
)
VLLM_KERNELS = (
    # Triton reads it where it compiles `tl.dot` (language/core.py: `knobs.language.fp32_default`), and keeps
    # kernels apart by it (Tools/Sys/GetEnv.hpp). vLLM's attention in float32 is Triton's, by a plain `tl.dot`
    # (v1/attention/ops/triton_unified_attention.py:547); its linear layers are exact (envs.py:627).
    Variable("TRITON_F32_DEFAULT", "ieee", "or float32 is multiplied as TF32, of ten bits"),
)
CPU = (Variable("DS_ACCELERATOR", "cpu", "alone DeepSpeed guesses and warns"),)
SINGLE_RANK = (
    Variable("RANK", "0", "DeepSpeed asks for it"),
    Variable("LOCAL_RANK", "0", "DeepSpeed asks for it"),
    Variable("WORLD_SIZE", "1", "DeepSpeed asks for it"),
    Variable("MASTER_ADDR", "127.0.0.1", "torch listens there"),
)
# These overrule the user's.
SAFE_IMPORTS = (
    Variable("PYTHONSAFEPATH", "1", "a working directory may be a workspace with a tasks.py of its own"),
)
DVC = (
    Variable("SHELL", "/bin/sh", "DVC starts stages by it, and an account of a service has nologin there"),
)
VLLM = (
    Variable("VLLM_ENABLE_V1_MULTIPROCESSING", "0", "weights are handed over inside the process"),
    Variable(
        "VLLM_WORKER_MULTIPROC_METHOD", "spawn", "a process that has looked at its GPUs cannot be forked"
    ),
)
# A variable of a library that is empty is unset: Compose writes `${VARIABLE:-}` so.
_LIBRARIES = (
    *("APO_", "AWS_", "DVC_", "HF_", "MLFLOW_", "PREFECT_", "RAY_", "VLLM_"),
    *("USER", "LOGNAME", "HOME"),
)
# By which a hook of git names its own repository, as `git rev-parse --local-env-vars` lists them; a workspace
# has another.
_GIT_NAMES = (
    *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_CONFIG", "GIT_CONFIG_COUNT"),
    *("GIT_CONFIG_PARAMETERS", "GIT_DIR", "GIT_GRAFT_FILE", "GIT_IMPLICIT_WORK_TREE", "GIT_INDEX_FILE"),
    *("GIT_INTERNAL_SUPER_PREFIX", "GIT_NO_REPLACE_OBJECTS", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX"),
    *("GIT_REPLACE_REF_BASE", "GIT_SHALLOW_FILE", "GIT_WORK_TREE"),
)
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
# By which a launcher tells a process its rank; schedulers set some for reasons of their own.
_RANK_NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def as_env(*tables: Iterable[Variable]) -> dict[str, str]:
    """Merge tables of variables into the environment of a process to be started."""
    return {variable.name: variable.value for table in tables for variable in table}


def prefect_home(home: Path) -> dict[str, str]:
    """Make the variables for where Prefect keeps its files; two of its settings ignore PREFECT_HOME."""
    return {
        "PREFECT_HOME": str(home),
        "PREFECT_LOCAL_STORAGE_PATH": str(home / "storage"),
        "PREFECT_SERVER_MEMO_STORE_PATH": str(home / "memo_store.toml"),
    }


def disable_telemetry() -> None:
    """Let nothing that this process or its children use phone home, unless the user wants it to."""
    _set_defaults(as_env(TELEMETRY))


def keep_imports_safe() -> None:
    """Let no Python process that this one starts import from its working directory, as `-P` does for one."""
    os.environ.update(as_env(SAFE_IMPORTS))


def make_sound() -> None:
    """Mend what containers, schedulers, hooks and proxies put into an environment or leave out."""
    for name, value in list(os.environ.items()):
        if (
            name in _GIT_NAMES
            or (not value and name.startswith(_LIBRARIES))
            or _is_unknown_proxy(name, value)
        ):
            del os.environ[name]
    if "PYTHONPATH" in os.environ:
        os.environ["PYTHONPATH"] = _absolute(os.environ["PYTHONPATH"])
    if any(os.environ.get(name) or os.environ.get(name.upper()) for name in _PROXIES):
        _reach_loopback()
    try:
        account = pwd.getpwuid(os.getuid())
    except KeyError:  # a container's user without a name
        _set_defaults({"USER": f"user{os.getuid()}", "LOGNAME": f"user{os.getuid()}"})
    else:
        _set_defaults({"HOME": account.pw_dir})
    if not os.access(os.environ.get("HOME", ""), os.R_OK | os.X_OK):  # that of another user, or none
        os.environ["HOME"] = str(_own_home())


def _absolute(search_path: str) -> str:
    """A search path without its relative entries.

    An empty one, as a colon too many makes it, is the working directory, and that may be a workspace with a
    tasks.py of its own.
    """
    return os.pathsep.join(entry for entry in search_path.split(os.pathsep) if Path(entry).is_absolute())


def _own_home() -> Path:
    """A home for libraries' own files, of this account alone."""
    home = Path(tempfile.gettempdir()) / f"apo-home-{os.getuid()}"
    home.mkdir(mode=0o700, exist_ok=True)
    if home.is_symlink() or home.stat().st_uid != os.getuid():
        raise ApoError(f"{home}: belongs to another account; set HOME to a directory of your own")
    return home


def _is_unknown_proxy(name: str, value: str) -> bool:
    """Whether a variable names a SOCKS proxy, at which Prefect's client ends without another package."""
    return name.casefold() in _PROXIES and value.startswith("socks") and find_spec("socksio") is None


def _reach_loopback() -> None:
    """Have no proxy asked for servers of this machine, by libraries that read either name."""
    known = [*os.environ.get("no_proxy", "").split(","), *os.environ.get("NO_PROXY", "").split(",")]
    hosts = list(dict.fromkeys([*(host.strip() for host in known if host.strip()), *_LOOPBACK]))
    if "*" not in hosts:
        os.environ.update({"no_proxy": ",".join(hosts), "NO_PROXY": ",".join(hosts)})


def prepare_command() -> None:
    """Set up a process that a person, a schedule or a worker has started: the command line, a flow."""
    make_sound()
    disable_telemetry()
    keep_imports_safe()
    _set_defaults(as_env(MLFLOW_CLIENT))


def prepare_stage() -> None:
    """Set up a stage's process: quiet logs, and no stop because the machine is busy."""
    make_sound()
    disable_telemetry()
    keep_imports_safe()
    _set_defaults(as_env(STAGE))


def prepare_vllm() -> None:
    """Set what vLLM reads at its import and after."""
    disable_telemetry()
    os.environ.update(as_env(VLLM))
    _set_defaults(as_env(VLLM_LOG, VLLM_KERNELS))


def use_local_prefect(home: Path) -> None:
    """Keep Prefect's files below a directory; before Prefect is imported, which reads its settings then."""
    _set_defaults(prefect_home(home))
    # Prefect makes the last part of its home only, and starts no server without it.
    Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)


def use_prefect_api(url: str) -> None:
    """Point this process's Prefect at an API, whatever it was pointed at."""
    os.environ["PREFECT_API_URL"] = url


def use_expandable_segments() -> None:
    """Let torch's allocator of GPU memory grow its segments; before torch is imported, which reads it then.

    Not in a process whose tensors another reads, as vLLM does: such segments are handed over by file
    descriptors of the process, which containers refuse (c10/cuda/CUDACachingAllocator.cpp,
    `ExpandableSegment::share`). Nor in vLLM itself, whose sleep mode has a memory pool that they break
    (vllm/device_allocator/cumem.py, pytorch issue 147851).
    """
    if "PYTORCH_CUDA_ALLOC_CONF" not in os.environ:  # the older name, over which ours would have its way
        _set_defaults(as_env(EXPANDABLE))


def use_cpu_accelerator() -> None:
    """Tell DeepSpeed, before it is imported, that there is no GPU."""
    _set_defaults(as_env(CPU))


def share_cores(processes: int) -> None:
    """Divide the cores of this machine equally among processes; DeepSpeed's launcher does not."""
    _set_defaults({"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // processes))})


def clear_rank_env() -> None:
    """Unset the variables that make this process, and those it starts, a rank."""
    for name in _RANK_NAMES:
        os.environ.pop(name, None)


def default_to_single_rank(port: int) -> None:
    """Make this process the only rank, unless a launcher has set its rank."""
    _set_defaults(as_env(SINGLE_RANK) | {"MASTER_PORT": str(port)})


def show_gpus(devices: str) -> None:
    """Let this process, and what it starts, see these GPUs only: numbers or UUIDs, separated by commas."""
    os.environ["CUDA_VISIBLE_DEVICES"] = devices


@contextmanager
def engine_env(gpu: int | None) -> Iterator[None]:
    """Start processes in this block as no rank, and with one GPU, in this process's numbering, or all."""
    before = dict(os.environ)
    clear_rank_env()
    if gpu is not None:
        seen = before.get("CUDA_VISIBLE_DEVICES")
        show_gpus(str(gpu) if seen is None else seen.split(",")[gpu])
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def weights_only() -> Iterator[None]:
    """Have `torch.load` refuse whole pickles in the block, also to DeepSpeed, which asks for them."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _set_defaults(env: Mapping[str, str]) -> None:
    for name, value in env.items():
        os.environ.setdefault(name, value)
