"""Bytes that change without a trace, and files that are cut, emptied or edited."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import yaml
from builders import BIN, flip_a_byte, kill_when, steps_done

from apo_core.system.files import remove, sha256_of
from faults.fault import Fault

_POLICY = "data/policy/model.safetensors"
_VALUES = "data/values.parquet"
_OUTPUTS = (
    _VALUES,
    "data/samples.parquet",
    _POLICY,
    "data/reference/model.safetensors",
    "data/reference/tokenizer.json",
    "data/prompts.parquet",
)
_CACHE = ".dvc/cache/files/md5"
_SAID = "is not what stage .* is recorded, found"
_MENDED = "replaced by a whole copy .*everything is as it is recorded"
_TWICE = "apo fsck && rm -rf .apo/damaged && apo fsck"
_STORE = "store/files/md5"
_PUSHED = "dvc remote add -q --default store store && dvc push -q"


def faults() -> list[Fault]:
    """All of them."""
    return [
        *_flipped(),
        *_of_cache(),
        *_of_remote(),
        *_of_registry(),
        *_of_checkpoints(),
        *_edited(),
        *_of_locks(),
        *_of_records(),
    ]


def _flip(path: str) -> Callable[[Path], None]:
    def flip(workspace: Path) -> None:
        # DVC reads a file once, and then looks at its size and times only.
        subprocess.run([BIN / "apo", "status"], cwd=workspace, check=True, stdout=subprocess.DEVNULL)
        flip_a_byte(workspace / path)

    return flip


def _copies_of(workspace: Path, file: str, store: str = _CACHE) -> list[Path]:
    """DVC's objects with the bytes of a file of the workspace."""
    digest = sha256_of(workspace / file)
    objects = [path for path in (workspace / store).glob("??/*") if sha256_of(path) == digest]
    assert objects, f"DVC has no copy of {file}"
    return objects


def _list_of(workspace: Path, output: str) -> Path:
    """DVC's list of the files of a directory."""
    lock = yaml.safe_load((workspace / "dvc.lock").read_text())
    outputs = [out for stage in lock["stages"].values() for out in stage["outs"]]
    (md5,) = [out["md5"] for out in outputs if out["path"] == output]
    return workspace / _CACHE / md5[:2] / md5[2:]


def _flipped() -> list[Fault]:
    flipped = [
        Fault(name=f"a flipped byte in {path}", do=_flip(path), status=2, says=_SAID) for path in _OUTPUTS
    ]
    mended = [
        Fault(
            name=f"the same, apo fsck ({path})",
            do=_flip(path),
            command=_TWICE,
            says=_MENDED,
            same=(path,),
        )
        for path in _OUTPUTS
    ]
    return [*flipped, *mended]


def _in_cache(path: str) -> Callable[[Path], None]:
    def flip(workspace: Path) -> None:
        for file in _copies_of(workspace, path):
            flip_a_byte(file)

    return flip


def _of_cache() -> list[Fault]:
    def list_of_files(workspace: Path) -> None:
        flip_a_byte(_list_of(workspace, "data/policy"))

    def lost(damage: Callable[[Path], None]) -> Callable[[Path], None]:
        def lose(workspace: Path) -> None:
            damage(workspace)
            shutil.rmtree(workspace / "data/policy")

        return lose

    return [
        *(
            Fault(
                name=f"DVC's cache, a flipped byte ({path}), apo fsck",
                do=_in_cache(path),
                command=_TWICE,
                says=f"cache: {path}.*{_MENDED}",
                same=(path, _CACHE),
            )
            for path in (_POLICY, _VALUES)
        ),
        Fault(
            name="DVC's cache, a flipped byte in a list of files, apo fsck",
            do=list_of_files,
            command=_TWICE,
            says=f"cache: data/policy: .*{_MENDED}",
            same=("data/policy", _CACHE),
        ),
        Fault(
            name="DVC's cache, a flipped byte in a list of files, the output lost",
            do=lost(list_of_files),
            command="apo run || apo run --force train",
            says="champion",
            same=("data/policy",),
        ),
        Fault(
            name="a policy restored from a damaged cache", do=lost(_in_cache(_POLICY)), status=2, says=_SAID
        ),
        Fault(
            name="the same, made again",
            do=lost(_in_cache(_POLICY)),
            command="apo run > /dev/null 2>&1; apo run --force train && apo fsck",
            says="decision.*everything is as it is recorded",
            same=("data/policy",),
        ),
    ]


def _of_remote() -> list[Fault]:
    def on_remote(workspace: Path) -> None:
        subprocess.run(["bash", "-c", _PUSHED], cwd=workspace, check=True)
        for file in _copies_of(workspace, _POLICY, _STORE):
            flip_a_byte(file)

    def only_on_remote(workspace: Path) -> None:
        on_remote(workspace)
        for gone in (".dvc/cache", "data/policy"):
            shutil.rmtree(workspace / gone)

    return [
        Fault(
            name="a remote, a flipped byte, apo fsck --look",
            do=on_remote,
            command="apo fsck --look",
            status=1,
            says=f"remote: {_POLICY}: {_SAID}",
        ),
        Fault(
            name="a remote, a flipped byte, apo fsck",
            do=on_remote,
            command=f"{_TWICE} && ! diff -rq {_CACHE} {_STORE} | grep differ",
            says=f"remote: .*{_MENDED}",
        ),
        Fault(
            name="a remote, a flipped byte, the cache lost, apo restore",
            do=only_on_remote,
            command="apo restore apo-ci@champion",
            status=2,
            says=_SAID,
        ),
        Fault(
            name="a remote, a flipped byte, the cache lost, apo run",
            do=only_on_remote,
            command="dvc pull -q; apo run",
            status=2,
            says=_SAID,
        ),
    ]


def _of_registry() -> list[Fault]:
    def weights_of(workspace: Path) -> Path:
        (weights,) = (workspace / ".apo/mlartifacts").rglob("model.safetensors")
        return weights

    def flip(workspace: Path) -> None:
        flip_a_byte(weights_of(workspace))

    def cut(workspace: Path) -> None:
        weights_of(workspace).write_bytes(weights_of(workspace).read_bytes()[:1000])

    # A look takes up that the workspace is a copy: its database has the addresses of the first.
    look = "apo audit apo-ci"
    named = "registry: models:/apo-ci/1: its files are not what was registered"
    whole = f"cp $(find .apo/mlartifacts -name model.safetensors) copied && cmp copied {_POLICY}"
    return [
        Fault(
            name="the registry's copy, a flipped byte, apo fsck --look",
            do=flip,
            command=f"{look} && apo fsck --look",
            status=1,
            says=named,
        ),
        *(
            Fault(
                name=f"the registry's copy, {way}, apo fsck",
                do=do,
                command=f"{look} && {_TWICE} && {whole}",
                says="registry: .*replaced by whole files .*everything is as it is recorded",
            )
            for way, do in {"a flipped byte": flip, "cut": cut}.items()
        ),
        Fault(
            name="the same, apo fsck --look as the first command in a copy of a workspace",
            do=flip,
            command="apo fsck --look",
            status=1,
            says=named,
        ),
        Fault(
            name="the same in the workspace that was copied, apo fsck in the copy",
            do=flip,
            command=f'{look} && here=$PWD && cp -a . "$here-copy" && cd "$here-copy" && '
            f"cp {_POLICY} $(find .apo/mlartifacts -name model.safetensors) && apo fsck --look; s=$?; "
            'rm -r "$here-copy"; exit $s',
            says="everything is as it is recorded",
        ),
    ]


def _of_checkpoints() -> list[Fault]:
    def unfinished(workspace: Path) -> Path:
        for copied in _copies_of(workspace, _POLICY):
            copied.unlink()
        for gone in ("data/policy", "data/unfinished/train"):  # it is nowhere: it is trained again
            shutil.rmtree(workspace / gone)
        kill_when(workspace, [str(BIN / "apo"), "run"], lambda: steps_done(workspace) >= 18)
        saved = sorted((workspace / "data/unfinished/train/checkpoints").iterdir())
        assert len(saved) > 1
        return max(saved, key=lambda checkpoint: int("".join(filter(str.isdigit, checkpoint.name)) or 0))

    def largest_of(checkpoint: Path) -> Path:
        return max(checkpoint.rglob("*"), key=lambda file: file.stat().st_size if file.is_file() else 0)

    def flipped(workspace: Path) -> None:
        flip_a_byte(largest_of(unfinished(workspace)))

    def cut(workspace: Path) -> None:
        file = largest_of(unfinished(workspace))
        file.write_bytes(file.read_bytes()[:1000])

    return [
        Fault(
            name="a checkpoint, a flipped byte",
            do=flipped,
            command="apo run",
            says="the checkpoint before it is taken",
            same=("data/policy",),
        ),
        Fault(
            name="a checkpoint that is cut",
            do=cut,
            command="apo run",
            says="the checkpoint before it is taken",
            same=("data/policy",),
        ),
        Fault(
            name="a checkpoint, a flipped byte, apo fsck",
            do=flipped,
            command="! apo fsck && apo run",  # the policy is nowhere yet
            says="training: .*moved away: the training goes on from the checkpoint before it",
            same=("data/policy",),
        ),
    ]


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
