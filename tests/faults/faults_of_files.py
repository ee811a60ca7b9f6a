"""Files that are cut, emptied, edited or in conflict: outputs, DVC's record, logs and databases."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from apo_core.system.files import remove
from faults.fault import Fault

_POLICY = "data/policy/model.safetensors"
_VALUES = "data/values.parquet"


def faults() -> list[Fault]:
    """All of them."""
    return [*_edited(), *_of_locks(), *_of_records()]


def _edited() -> list[Fault]:
    def halved(file: Path) -> None:
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2])

    def added_to(file: Path) -> None:
        (file.parent / "more.json").write_text("{}")

    ways: dict[str, Callable[[Path], None]] = {
        "emptied": lambda file: file.write_bytes(b"") and None,
        "cut": halved,
        "removed": remove,
    }
    everything = ("data/policy", _VALUES, "reports/eval.json")
    cases = [(way, path) for way in ways for path in (_VALUES, _POLICY)]
    return [
        *(
            Fault(
                name=f"{path} {way}",
                do=lambda workspace, way=way, path=path: ways[way](workspace / path),
                command="apo run",
                says="champion",
                same=everything,
            )
            for way, path in cases
        ),
        Fault(
            name="a file added to data/policy",
            do=lambda workspace: added_to(workspace / _POLICY),
            command="apo run",
            says="champion",
            same=everything,
        ),
        Fault(
            name="data/policy removed",
            do=lambda workspace: remove(workspace / "data/policy"),
            command="apo run",
            says="champion",
            same=everything,
        ),
        Fault(
            name="reports/eval.json edited by hand",
            do=_better_than_it_is,
            command="apo run",
            says="champion",
            same=everything,
        ),
    ]


def _better_than_it_is(workspace: Path) -> None:
    file = workspace / "reports/eval.json"
    report = json.loads(file.read_text())
    file.write_text(json.dumps(report | {"passes": True, "n": 10_000}))


def _of_locks() -> list[Fault]:
    def written(name: str, change: Callable[[str], str]) -> Callable[[Path], None]:
        def write(workspace: Path) -> None:
            file = workspace / name
            file.write_text(change(file.read_text()))

        return write

    def in_conflict(text: str) -> str:
        return f"<<<<<<< HEAD\n{text}=======\n>>>>>>> other\n"

    conflict = written("dvc.lock", in_conflict)
    unresolved = written("params.yaml", in_conflict)
    back: dict[str, Callable[[str], str]] = {
        "cut in half": lambda text: text[: len(text) // 2],
        "emptied": lambda text: "",
    }
    return [
        *(
            Fault(
                name=f"dvc.lock {way}",
                do=written("dvc.lock", change),
                command="apo run",
                says="nothing changed",
                same=("dvc.lock", "data/policy"),
            )
            for way, change in back.items()
        ),
        Fault(
            name="dvc.lock with conflicts, a look",
            do=conflict,
            command="apo status",
            says="has merge conflicts",
        ),
        Fault(name="dvc.lock with conflicts, a run", do=conflict, status=2, says="has merge conflicts"),
        Fault(
            name="dvc.lock with conflicts stays as it is",
            do=conflict,
            command="apo status; apo run; grep -c -e '^<<<<<<<' -e '^>>>>>>>' dvc.lock",
            says=" 2 $",
        ),
        Fault(
            name="params.yaml with conflicts, a run",
            do=unresolved,
            status=2,
            says=r"error: \S*params.yaml:\S* ",
        ),
        Fault(
            name="params.yaml with conflicts, a look",
            do=unresolved,
            command="apo status",
            status=2,
            says=r"error: \S*params.yaml:\S* ",
        ),
    ]


def _of_records() -> list[Fault]:
    def entry(workspace: Path, number: int) -> Path:
        return workspace / f".apo/audit/apo-ci/{number:08}.json"

    def changed(number: int) -> Callable[[Path], None]:
        def write(workspace: Path) -> None:
            file = entry(workspace, number)
            content = json.loads(file.read_text())
            file.chmod(0o644)
            file.write_text(json.dumps(content | {"by": "somebody else"}))

        return write

    def removed(*numbers: int) -> Callable[[Path], None]:
        return lambda workspace: [remove(entry(workspace, number)) for number in numbers] and None

    def cut(name: str) -> Callable[[Path], None]:
        def write(workspace: Path) -> None:
            _settle(workspace / name)
            with (workspace / name).open("r+b") as file:
                file.truncate(file.seek(0, 2) // 2)

        return write

    def emptied(workspace: Path) -> None:
        _settle(workspace / ".apo/mlflow.db")
        (workspace / ".apo/mlflow.db").write_bytes(b"")

    store, prefect = ".apo/mlflow.db", ".apo/prefect/prefect.db"
    aside = "mkdir kept && mv .apo/mlflow.db* kept"
    log = {
        "the first entry changed": changed(1),
        "the last entry changed": changed(3),
        "the first entry removed": removed(1),
        "the last entry removed": removed(3),
        "every entry removed": removed(1, 2, 3),
    }
    return [
        *(
            Fault(
                name=f"the log of decisions, {way}, apo {command.partition(' ')[0]}",
                do=do,
                command=f"apo {command}",
                status=2,
                says="error: .*(entry|decisions)",
            )
            for way, do in log.items()
            for command in ("audit apo-ci", "run --force report")
        ),
        Fault(name="mlflow.db cut", do=cut(store), status=2, says="error: .*malformed.*apo fsck"),
        Fault(
            name="mlflow.db cut, apo fsck",
            do=cut(store),
            command="apo fsck",
            status=1,
            says="databases: .*mlflow.db: .* to do: ",
        ),
        Fault(
            name="mlflow.db cut, as apo fsck says",
            do=cut(store),
            command=f"{aside} && apo reconcile apo-ci && apo run",
            says="version 1 is there again .* champion",
            same=("data/policy",),
        ),
        Fault(name="mlflow.db emptied", do=emptied, status=2, says="error: .*apo (reconcile apo-ci|fsck)"),
        Fault(
            name="mlflow.db emptied, apo fsck",
            do=emptied,
            command="apo fsck",
            status=1,
            says="registry: is not there, .* to do: `apo reconcile apo-ci`",
        ),
        Fault(
            name="mlflow.db emptied, as apo fsck says",
            do=emptied,
            command="apo reconcile apo-ci && apo run",
            says="version 1 is there again .* champion",
        ),
        Fault(name="prefect.db cut", do=cut(prefect), status=2, says="error: Prefect did not start; see"),
        Fault(
            name="prefect.db cut, apo fsck",
            do=cut(prefect),
            command="apo fsck",
            status=1,
            says="databases: .*prefect.db: .* to do: ",
        ),
        Fault(
            name="prefect.db cut, removed",
            do=cut(prefect),
            command="rm .apo/prefect/prefect.db* && apo run",
            says="nothing changed",
        ),
    ]


def _settle(database: Path) -> None:
    """Bring all of a database into its file."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
