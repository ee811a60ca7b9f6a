"""Bytes that change without a trace."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import yaml
from builders import BIN, flip_a_byte, kill_when, steps_done

from apo_core.system.files import sha256_of
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
