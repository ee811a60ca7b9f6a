"""A registry that is lost, of an older version, or busy; and names that it must not get."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from itertools import product
from pathlib import Path

import pandas as pd
from mlflow import MlflowClient

from faults.fault import Fault

_LOCK = """
import sqlite3, sys, time
file, seconds = sys.argv[1:]
with sqlite3.connect(file, isolation_level=None) as database:
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    database.execute("BEGIN EXCLUSIVE")
    open("held", "w")
    time.sleep(float(seconds))
    database.execute("ROLLBACK")
"""


def faults() -> list[Fault]:
    """All of them."""
    return [*_lost(), *_busy(), *_names()]


def _store(workspace: Path) -> Path:
    return workspace / ".apo/mlflow.db"


def _client(workspace: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{_store(workspace)}")


def _lost() -> list[Fault]:
    def all_lost(workspace: Path) -> None:
        _store(workspace).unlink()
        shutil.rmtree(workspace / ".apo/mlartifacts")

    def older(workspace: Path) -> None:
        with closing(sqlite3.connect(_store(workspace))) as database:
            database.execute("UPDATE alembic_version SET version_num = '90e64c465722'")
            database.commit()

    ways = {
        "model deleted": lambda workspace: _client(workspace).delete_registered_model("apo-ci"),
        "champion's version deleted": lambda workspace: _client(workspace).delete_model_version(
            "apo-ci", "1"
        ),
        "mlflow.db lost": lambda workspace: _store(workspace).unlink(),
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
        Fault(
            name="champion's alias deleted, reconciled",
            do=lambda workspace: _client(workspace).delete_registered_model_alias("apo-ci", "champion"),
            command="apo reconcile apo-ci && apo lineage apo-ci@champion",
            says="apo-ci/1",
        ),
        Fault(name="a database of an older version", do=older, status=2, says="mlflow db upgrade"),
        Fault(
            name="the same, apo doctor", do=older, status=1, command="apo doctor", says="mlflow db upgrade"
        ),
    ]


def _held(seconds: int, command: str) -> str:
    """A command while another program holds the registry's database for so many seconds."""
    hold = f"python -c '{_LOCK}' .apo/mlflow.db {seconds} & until [ -e held ]; do sleep 0.1; done"
    return f"{hold}; {command}"


def _busy() -> list[Fault]:
    return [
        Fault(
            name="mlflow.db held for 45 s, a run",
            command=_held(45, "apo run --force report"),
            says="champion",
        ),
        Fault(
            name="mlflow.db held for 45 s, apo audit",
            command=_held(45, "apo audit apo-ci"),
            says="verified",
        ),
        Fault(
            name="mlflow.db held for three minutes",
            command=_held(180, "timeout 170 apo run --force report"),
            status=2,
            says="error: .*mlflow.db: .*locked",
        ),
        Fault(
            name="mlflow.db held for three minutes, apo audit",
            command=_held(180, "timeout 170 apo audit apo-ci"),
            status=2,
            says="error: .*mlflow.db: .*locked",
        ),
        Fault(
            name="prefect.db held for 30 s",
            command=_held(30, "apo run --force report").replace(".apo/mlflow.db", ".apo/prefect/prefect.db"),
            says="champion",
        ),
    ]


def _names() -> list[Fault]:
    names = ("a/b", "../a", "a'b", 'a"b', "a:b", "a@champion", "")
    many = ", ".join(_names_of_files())
    return [
        *(
            Fault(
                name=f"tracking.model {name!r}",
                env={"MODEL": name},
                command='apo run --set "tracking.model=$MODEL"; s=$?; apo run; exit $s',
                status=2,
                says="error: .*tracking.model.*nothing changed",
                same=("params.yaml",),
            )
            for name in names
        ),
        Fault(
            name="a parameter of 200 file names",
            env={"FILES": f"[{many}]"},
            do=_with_many_files,
            command="apo run --set reference.source=directory --set data.source=files "
            "--set \"data.train_files=$FILES\" --set 'data.eval_files=[test.jsonl]'",
            says="decision",
        ),
    ]


def _names_of_files() -> list[str]:
    return [f"part-{number:03}-{'x' * 20}.jsonl" for number in range(200)]


def _with_many_files(workspace: Path) -> None:
    """A prompt for each file, and the finished workspace's own for the evaluation."""
    raw = workspace / "data/raw/prompts"
    prompts = pd.read_parquet(workspace / "data/prompts.parquet")
    test = prompts[prompts["split"] == "eval"]
    assert len(test)
    shutil.copytree(workspace / "data/reference", workspace / "data/raw/model", dirs_exist_ok=True)
    (raw / "test.jsonl").write_text(test[["prompt", "answer"]].to_json(orient="records", lines=True))
    sums = (numbers for numbers in product(range(1, 6), repeat=4))
    rows = ({"prompt": f"{a}+{b}+{c}-{d}=", "answer": str(a + b + c - d)} for a, b, c, d in sums)
    others = (row for row in rows if row["prompt"] not in set(test["prompt"]))
    for name, row in zip(_names_of_files(), others, strict=False):
        (raw / name).write_text(json.dumps(row) + "\n")
