"""Checks of a configuration's inputs: files of prompts, the model, the sampler's engine, the verifier."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import NamedTuple

from apo_core.config import Params
from apo_core.data.entries import parse_entry
from apo_core.data.prompts import Prompt
from apo_core.data.readers import is_readable
from apo_core.errors import ApoError
from apo_core.model.directory import check_model_directory
from apo_core.verifiers.base import attempt_at
from tasks.prompts.sources import first_prompts
from tasks.workspace import Workspace

_ATTENTION_PACKAGES = {"flash_attention_2": "flash_attn", "flash_attention_3": "flash_attn_interface"}


class Finding(NamedTuple):
    """A finding of the doctor."""

    subject: str
    good: bool
    detail: str


def examine_inputs(workspace: Workspace, params: Params) -> list[Finding]:
    """Look at everything that the first stages will ask for."""
    prompts, problem = _first_prompts(workspace, params)
    return [
        *_prompts(workspace, params, problem),
        *_model(workspace, params),
        *_sampler(params),
        *_attention(params),
        *_verifier(workspace, params, prompts),
    ]


def refuse_missing_inputs(workspace: Workspace, params: Params) -> None:
    """Look before anything runs: a stage would say so only when its turn comes.

    Raises:
        ApoError: something is missing or unusable; names it.
    """
    for finding in examine_inputs(workspace, params):
        if not finding.good:
            raise ApoError(f"{finding.subject}: {finding.detail}")


def read_first_prompts(workspace: Workspace, params: Params) -> list[Prompt]:
    """The first prompts of every file; none where prompts are made up.

    Raises:
        InputError: they cannot be read with the configured fields.
    """
    return list(first_prompts(workspace.raw_prompts, params.data)) if params.data.source == "files" else []


def _first_prompts(workspace: Workspace, params: Params) -> tuple[list[Prompt], str | None]:
    """The first prompts, or none and what is wrong with them."""
    try:
        return read_first_prompts(workspace, params), None
    except ApoError as error:
        return [], str(error)


def _prompts(workspace: Workspace, params: Params, first_problem: str | None) -> Iterator[Finding]:
    if params.data.source == "files":
        entries = [parse_entry(text) for text in (*params.data.train_files, *params.data.eval_files)]
        names = [entry.text for entry in entries]
        # What is remote is fetched when a run begins.
        missing = [
            entry.text
            for entry in entries
            if entry.kind == "local" and not is_readable(workspace.raw_prompts / entry.path)
        ]
        problem = f"missing in {workspace.raw_prompts}: {', '.join(missing)}" if missing else None
        problem = problem or first_problem
        yield Finding("prompts", problem is None, problem or ", ".join(names))
        if any(entry.kind == "generated" for entry in entries) and find_spec("reasoning_gym") is None:
            problem = "is not installed: pip install -e '.[reasoning-gym]' in its checkout"
            yield Finding("reasoning-gym", False, problem)


def _attention(params: Params) -> Iterator[Finding]:
    attention = params.train.attention
    package = _ATTENTION_PACKAGES.get(attention or "")
    if package is not None:
        installed = find_spec(package) is not None
        yield Finding(
            "train.attention",
            installed,
            f"{attention}: package {package} is {'' if installed else 'not '}installed",
        )


def _model(workspace: Workspace, params: Params) -> Iterator[Finding]:
    if params.reference.source == "directory":
        try:
            check_model_directory(workspace.raw_model)
            yield Finding("model", True, str(workspace.raw_model))
        except ApoError as error:
            yield Finding("model", False, str(error))


def _sampler(params: Params) -> Iterator[Finding]:
    if params.sampling.executor == "ray":
        installed = find_spec("ray") is not None
        yield Finding(
            "ray",
            installed,
            "installed" if installed else "is not installed: pip install -e '.[ray]' in its checkout",
        )
    if "vllm" in (params.sampler.engine, params.train.sampler.engine):
        from apo_core.sampling.vllm_sampler import vllm_version

        try:
            yield Finding("sampler", True, vllm_version())
        except ApoError as error:
            yield Finding("sampler", False, str(error))


def _verifier(workspace: Workspace, params: Params, prompts: list[Prompt]) -> Iterator[Finding]:
    """Load verifiers that need what may be missing here, and have them read the first gold answers."""
    installed = [rule.name for rule in params.verifier if ":" in rule.name or rule.name == "code"]
    if not installed and not prompts:
        return
    from tasks.responses.scoring import scorer_of  # with pandas, which takes a second

    names = (
        "code, in a sandbox of bubblewrap" if rule.name == "code" else rule.name for rule in params.verifier
    )
    try:
        with scorer_of(params.verifier, workspace.raw_verifiers, rows=len(prompts)) as scorer:
            scorer.check()
            problems = scorer.answer_problems([attempt_at(prompt, "") for prompt in prompts])
    except ApoError as error:
        yield Finding("verifier", False, str(error))
        return
    for prompt, problem in zip(prompts, problems, strict=True):
        if problem is not None:
            detail = f"{prompt.source}: {params.data.answer_field}: cannot be read by the verifier: {problem}"
            yield Finding("verifier", False, detail)
            return
    yield Finding("verifier", True, ", ".join(names))
