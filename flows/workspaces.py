"""Making workspaces: the shipped DAG, a preset's configuration, and the user's own inputs."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from apo_core.config import Params
from apo_core.config.file import set_params
from apo_core.config.overlay import description_of, load_overlay, resolve_overlay
from apo_core.data.readers import is_readable, kinds
from apo_core.errors import ApoError, InputError
from apo_core.model.directory import check_model_directory
from apo_core.system.files import remove, replacing
from tasks.dvc.run import dvc_command, dvc_environment
from tasks.git import is_under_git
from tasks.workspace import Workspace, check_path

_GITIGNORE = "/.apo/\n/data/*\n!/data/raw/\n/data/raw/prompts/remote/\n/reports/\n"
_BASE = "embedded"  # the preset that is whole
_RAW = tuple(f"data/raw/{name}/README.md" for name in ("prompts", "model", "verifiers"))


def shipped(name: str) -> Path:
    """A file that comes with the package: beside the code in a checkout, inside it in a wheel."""
    here = Path(__file__).parent
    inside = here / "workspace" / name
    return inside if inside.exists() else here.parent / name


def presets() -> dict[str, Path]:
    """The files of the presets, by name. Each overrides the preset `embedded`, which is complete."""
    return {file.stem: file for file in sorted(shipped("presets").glob("*.yaml"))}


def preset_list() -> str:
    """Every preset with its description, a line each."""
    return "\n".join(f"  {name:20} {description_of(file)}" for name, file in presets().items())


def preset_text(name: str) -> str:
    """The whole configuration of a preset, with comments.

    Raises:
        ApoError: there is no such preset.
    """
    return resolve_overlay(presets()[_BASE], _preset_file(name))


def load_preset(preset: str | Path, assignments: Sequence[str] = ()) -> Params:
    """The parameters of a preset, or of a file that is laid over `embedded` as presets are.

    Args:
        preset: its name, or the file.
        assignments: `key.path=value`, applied last.

    Raises:
        ApoError: there is no such preset, or it is no valid configuration.
    """
    file = preset if isinstance(preset, Path) else _preset_file(preset)
    return load_overlay(presets()[_BASE], file, assignments)


def _preset_file(name: str) -> Path:
    file = presets().get(name)
    if file is None:
        raise ApoError(f"unknown preset {name!r}; the presets are:\n{preset_list()}")
    return file


def make_workspace(
    directory: Path,
    preset: str,
    *,
    train_prompts: list[Path] | None = None,
    eval_prompts: list[Path] | None = None,
    model: Path | None = None,
) -> Workspace:
    """Make a new workspace, or nothing if any part of it cannot be made.

    Args:
        directory: must not exist, or be empty except for `.git`.
        preset: a name of `presets()`.
        train_prompts: files or directories to copy to `data/raw/prompts` and to train on; together with
            `eval_prompts` they take the place of the preset's `data.train_files` and `data.eval_files`.
        eval_prompts: the same, to evaluate on; none for a preset that divides the files for training.
        model: a Hugging Face directory to copy to `data/raw/model`.

    Raises:
        ApoError: the directory is in use, the preset is unknown, or an input is missing.
    """
    if directory.exists() and not (directory.is_dir() and _is_empty(directory)):
        raise ApoError(f"{directory}: is there already and not empty")
    check_path(Workspace(directory))
    configuration = preset_text(preset)
    split = load_preset(preset).data.split
    prompts = _Prompts(train_prompts or [], eval_prompts or [])
    _check_prompts(prompts, split)
    if model is not None:
        check_model_directory(model)
    if directory.exists():
        # It may be the shell's own: what is made beside it moves in, what makes it a workspace last.
        with tempfile.TemporaryDirectory(dir=directory.resolve().parent, prefix=".apo-init-") as beside:
            _fill(Workspace(Path(beside)), configuration, prompts, model, under_git=is_under_git(directory))
            for entry in sorted(Path(beside).iterdir(), key=lambda entry: entry.name == "params.yaml"):
                entry.rename(directory / entry.name)
    else:
        with replacing(directory.absolute()) as temporary:
            _fill(
                Workspace(temporary), configuration, prompts, model, under_git=is_under_git(temporary.parent)
            )
    return Workspace(directory)


def _is_empty(directory: Path) -> bool:
    """Whether a directory is empty, or has only what `git init` makes."""
    return all(entry.name == ".git" for entry in directory.iterdir())


class _Prompts(NamedTuple):
    train: list[Path]
    evaluation: list[Path]


def _check_prompts(prompts: _Prompts, split: str) -> None:
    if split != "files" and prompts.evaluation:
        raise ApoError("the preset divides the files for training: none are given for evaluation")
    if split == "files" and bool(prompts.train) != bool(prompts.evaluation):
        raise ApoError("files of prompts are given for training and for evaluation, or for neither")
    files = [*prompts.train, *prompts.evaluation]
    names = [file.name for file in files]
    for file in files:
        if not file.exists():
            raise InputError(file, "no such file")
        if not is_readable(file):
            raise InputError(file, f"is no {kinds()} file, nor a directory")
        if names.count(file.name) > 1:
            raise ApoError(f"{file.name}: two files of prompts have this name; rename one")


def _fill(
    workspace: Workspace, configuration: str, prompts: _Prompts, model: Path | None, *, under_git: bool
) -> None:
    for name in _RAW:
        target = workspace.root / name
        target.parent.mkdir(parents=True)
        shutil.copyfile(shipped(name), target)
    workspace.params.write_text(configuration, encoding="utf-8")
    for name in ("dvc.yaml", "prefect.yaml"):
        shutil.copyfile(shipped(name), workspace.root / name)
    (workspace.root / ".gitignore").write_text(_GITIGNORE, encoding="utf-8")
    if prompts.train:
        train, evaluation = (json.dumps([file.name for file in files]) for files in prompts)
        overrides = ("data.source=files", f"data.train_files={train}", f"data.eval_files={evaluation}")
        set_params(workspace.params, overrides)
    for file in [*prompts.train, *prompts.evaluation]:
        copy = shutil.copytree if file.is_dir() else shutil.copyfile
        copy(file, workspace.raw_prompts / file.name)
    if model is not None:
        shutil.copytree(model, workspace.raw_model, dirs_exist_ok=True)
    _init_dvc(workspace.root, under_git=under_git)


def _init_dvc(directory: Path, *, under_git: bool) -> None:
    """DVC configured as in the shipped workspace; under git where there is a repository around it.

    Always made without git: with it DVC would stage files under the workspace's temporary name.
    """
    done = subprocess.run(
        [*dvc_command(), "init", "--quiet", "--no-scm"],
        cwd=directory,
        env=dvc_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ApoError(f"dvc init failed: {done.stderr.strip()}")
    dvc_config = directory / ".dvc/config"
    remove(dvc_config)
    core = "[core]\n    analytics = false\n    check_update = false\n"
    dvc_config.write_text(core + ("" if under_git else "    no_scm = true\n"), encoding="utf-8")
    # Python makes these beside the user's verifiers, which stages depend on.
    (directory / ".dvcignore").write_text("__pycache__/\n", encoding="utf-8")
    (directory / ".dvc/.gitignore").write_text("/config.local\n/tmp\n/cache\n", encoding="utf-8")
