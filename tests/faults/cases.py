"""Faults of machines, accounts and stores: each is done to a finished workspace, and a command is run."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from builders import BIN, clean_env, flip_a_byte
from mlflow import MlflowClient

_SHIMS = Path(__file__).parent / "shims"
_PROXY = "http://127.0.0.1:9"  # where nothing listens


def _nothing(workspace: Path) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault, and what is right."""

    name: str
    do: Callable[[Path], None] = _nothing
    """Done to a copy of a finished workspace."""
    env: dict[str, str] = field(default_factory=dict)
    unset: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    """What the command is run by."""
    command: str = "apo run --force report"
    status: int = 0
    says: str = ""
    """A pattern that the output has."""


def problem_of(fault: Fault, finished: Path, workspace: Path) -> str:
    """Do a fault to a copy of a finished workspace; what is wrong then, empty if nothing is."""
    shutil.rmtree(workspace, ignore_errors=True)
    shutil.copytree(finished, workspace, symlinks=True)
    fault.do(workspace)
    environment = {
        name: value for name, value in (clean_env() | fault.env).items() if name not in fault.unset
    }
    environment["PATH"] = fault.env.get("PATH", f"{BIN}:{os.environ['PATH']}")
    done = subprocess.run(
        [*fault.before, "/bin/bash", "-c", fault.command],
        cwd=workspace,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=600,
        check=False,
    )
    text = done.stdout.decode(errors="replace")
    shutil.rmtree(workspace)
    if done.returncode != fault.status:
        return f"status {done.returncode}: {text.strip()[-300:]}"
    if "Traceback" in text:
        return f"a traceback: {text.strip()[-300:]}"
    return (
        ""
        if re.search(fault.says, re.sub(r"[\s│]+", " ", text))
        else f"does not say {fault.says!r}: {text[-300:]}"
    )


def shim(name: str, scratch: Path) -> str:
    """A library that takes something away, compiled."""
    library = scratch / f"{name}.so"
    if not library.exists():
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, _SHIMS / f"{name}.c"], check=True)
    return str(library)


def all_faults(scratch: Path) -> list[Fault]:
    """Every fault; `scratch` is for what they need."""
    return [*_bytes(), *_places(scratch), *_registries(), *_environments(), *_servers(), *_accounts()]


def _bytes() -> list[Fault]:
    def flipped(path: str) -> Callable[[Path], None]:
        def flip(workspace: Path) -> None:
            # DVC reads a file once, and then looks at its size and times only.
            subprocess.run([BIN / "apo", "status"], cwd=workspace, check=True, stdout=subprocess.DEVNULL)
            flip_a_byte(workspace / path)

        return flip

    def lost_with_its_copy(workspace: Path) -> None:
        for file in (workspace / ".dvc/cache/files/md5").glob("??/*"):
            if file.read_bytes() == (workspace / "data/policy/model.safetensors").read_bytes():
                flip_a_byte(file)
        shutil.rmtree(workspace / "data/policy")

    said = "is not what stage .* is recorded, found"
    paths = ("data/values.parquet", "data/samples.parquet", "data/policy/model.safetensors")
    paths += ("data/reference/model.safetensors", "data/reference/tokenizer.json", "data/prompts.parquet")
    return [
        *(Fault(name=f"a flipped byte in {path}", do=flipped(path), status=2, says=said) for path in paths),
        *(
            Fault(
                name=f"the same, apo fsck ({path})", do=flipped(path), command="apo fsck", says="a whole copy"
            )
            for path in paths
        ),
        Fault(name="a policy restored from a damaged cache", do=lost_with_its_copy, status=2, says=said),
        Fault(
            name="the same, made again",
            do=lost_with_its_copy,
            command="apo run > /dev/null 2>&1; apo run --force train",
            says="decision",
        ),
    ]


def _places(scratch: Path) -> list[Fault]:
    def conflict(workspace: Path) -> None:
        lock = workspace / "dvc.lock"
        lock.write_text(f"<<<<<<< HEAD\n{lock.read_text()}=======\n>>>>>>> other\n")

    def ignored(workspace: Path) -> None:
        subprocess.run(["git", "init", "-q"], cwd=workspace, check=True)
        (workspace / ".dvc/config").write_text("")
        (workspace / ".gitignore").write_text("*.lock\n")

    read_only = 'mount --bind "$PWD" "$PWD" && mount -o remount,ro,bind "$PWD" && cd "$PWD"'
    own_mounts = ("unshare", "--mount")
    return [
        Fault(
            name="moved",
            command='mv "$PWD" "$PWD-moved" && apo run -w "$PWD-moved"; mv "$PWD-moved" "$PWD"',
            says="nothing changed",
        ),
        Fault(
            name="`?` in the path",
            status=2,
            says="has a `\\?` in its path",
            command='mv "$PWD" "$PWD?b"; apo run -w "$PWD?b"; s=$?; mv "$PWD?b" "$PWD"; exit $s',
        ),
        Fault(
            name="dvc.lock with conflicts, a look",
            do=conflict,
            command="apo status",
            says="has merge conflicts",
        ),
        Fault(name="dvc.lock with conflicts, a run", do=conflict, status=2, says="has merge conflicts"),
        Fault(name="dvc.lock that git ignores", do=ignored, status=2, says="git ignores"),
        Fault(
            name="read-only, apo status",
            before=own_mounts,
            command=f"{read_only} && apo status",
            says="up to date",
        ),
        Fault(
            name="read-only, apo run",
            before=own_mounts,
            command=f"{read_only} && apo run",
            status=2,
            says="cannot be written",
        ),
        Fault(
            name="read-only /dev/shm",
            before=own_mounts,
            status=2,
            says="need semaphores in /dev/shm",
            command="mount -t tmpfs -o ro none /dev/shm && apo verify --set verifier.name=math "
            "--set 'verifier.extract=[last]'",
        ),
        Fault(
            name="no locks", env={"LD_PRELOAD": shim("no_locks", scratch)}, status=2, says="keeps no locks"
        ),
        Fault(
            name="no locks, a look",
            env={"LD_PRELOAD": shim("no_locks", scratch)},
            command="apo audit apo-ci",
            says="verified",
        ),
        Fault(
            name="no hard links",
            env={"LD_PRELOAD": shim("no_links", scratch)},
            says="champion",
            do=lambda workspace: shutil.rmtree(workspace / ".apo"),
            command="apo run && apo audit apo-ci",
        ),
    ]


def _registries() -> list[Fault]:
    def store(workspace: Path) -> Path:
        return workspace / ".apo/mlflow.db"

    def model_deleted(workspace: Path) -> None:
        MlflowClient(f"sqlite:///{store(workspace)}").delete_registered_model("apo-ci")

    def all_lost(workspace: Path) -> None:
        store(workspace).unlink()
        shutil.rmtree(workspace / ".apo/mlartifacts")

    def older(workspace: Path) -> None:
        with sqlite3.connect(store(workspace)) as database:
            database.execute("UPDATE alembic_version SET version_num = '90e64c465722'")

    ways = {
        "model deleted": model_deleted,
        "mlflow.db lost": lambda workspace: store(workspace).unlink(),
        "mlflow.db and its artifacts lost": all_lost,
    }
    again = "apo reconcile apo-ci && apo run"
    return [
        *(Fault(name=name, do=do, status=2, says="apo reconcile apo-ci") for name, do in ways.items()),
        *(
            Fault(
                name=f"{name}, reconciled", do=do, command=again, says="version 1 is there again .* champion"
            )
            for name, do in ways.items()
        ),
        Fault(name="a database of an older version", do=older, status=2, says="mlflow db upgrade"),
        Fault(
            name="the same, apo doctor", do=older, status=1, command="apo doctor", says="mlflow db upgrade"
        ),
    ]


def _environments() -> list[Fault]:
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), _PROXY)
    ascii_only = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    reject = "apo rollback apo-ci --by 'Zoë' --reason 'größer'"
    return [
        Fault(name="a proxy without NO_PROXY", env=proxies, unset=("NO_PROXY", "no_proxy"), says="decision"),
        Fault(
            name="empty variables", env={"MLFLOW_TRACKING_URI": "", "PREFECT_API_URL": ""}, says="decision"
        ),
        Fault(
            name="git's variables of a hook",
            env={"GIT_DIR": "/nowhere", "GIT_INDEX_FILE": "/no"},
            says="decision",
        ),
        Fault(
            name="a terminal of ASCII",
            env={"PYTHONIOENCODING": "ascii"},
            command="apo audit apo-ci",
            says="verified",
        ),
        Fault(
            name="a locale of ASCII", env=ascii_only, command=reject, status=2, says="no version was champion"
        ),
        Fault(name="HOME that is not there", env={"HOME": "/nowhere"}, says="decision"),
        Fault(
            name="no git, apo init",
            env={"PATH": str(BIN)},
            command=f"{BIN}/apo init new --preset ci",
            says="is made",
        ),
    ]


def _servers() -> list[Fault]:
    nobody = "http://127.0.0.1:9"
    away = {"MLFLOW_TRACKING_URI": nobody, "APO_AUDIT_URI": "audit"}
    return [
        Fault(
            name="Prefect that is not there",
            env={"PREFECT_API_URL": f"{nobody}/api"},
            status=2,
            says="does not answer",
        ),
        Fault(name="MLflow that is not there", env=away, status=2, says="does not answer"),
    ]


def _accounts() -> list[Fault]:
    nameless = ("unshare", "--user", "--map-user=4321")
    return [
        Fault(
            name="a user without a name", before=nameless, unset=("USER", "LOGNAME", "HOME"), says="decision"
        ),
    ]
