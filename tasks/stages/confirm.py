"""Confirmation: fresh responses of a policy that passed its evaluation, of the reference and of the champion.

No stage of `dvc.yaml`, for it depends on the registry; but a process like theirs. An evaluation that a policy
was chosen by flatters it: of many equal policies the luckiest passes, and would keep its lucky responses as
champion. So nobody's earlier responses count here. The seed is the policy's own hash: on the same machine and
versions it gets the same responses, however often it is asked again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from apo_core import config
from apo_core.config.file import load_template_section
from apo_core.errors import ApoError, DiskFull, VerifierFailed
from apo_core.model.directory import ModelRef
from apo_core.tables import EVALUATIONS, read_metadata, write_table
from apo_core.values.fingerprint import check_fingerprint
from tasks.prompts.prompt_template import load_prompt_template
from tasks.prompts.table import read_split, to_questions
from tasks.responses.conditions import evaluation_conditions, prompt_order, value_conditions
from tasks.responses.confirmation import (
    MODEL,
    MODEL_PARAMS,
    OF_CHAMPION,
    Request,
    answers,
    champion_files,
)
from tasks.responses.evaluator import Evaluator
from tasks.responses.scoring import error_budget
from tasks.responses.shards import open_work
from tasks.responses.workers import Workers
from tasks.stages.process import Facts
from tasks.workspace import CONFIRM, Workspace


@contextmanager
def _named_as_the_champions() -> Iterator[None]:
    """Say of a refusal that it is of the champion: its files, its template, or its code."""
    try:
        yield
    except (VerifierFailed, DiskFull):  # are nobody's in particular
        raise
    except ApoError as error:
        raise ApoError(f"{OF_CHAMPION}{error}") from error


class _Asked(NamedTuple):
    name: str
    directory: Path
    tokenizer: Path
    template: config.Template


def run(
    workspace: Workspace,
    seed: int,
    trust_remote_code: bool,
    template: config.Template,
    verifier: config.Verifiers,
    generation: config.Generation,
    sampler: config.Sampler,
    sampling: config.Sampling,
    evaluation: config.Evaluation,
) -> Facts:
    """Write the sampled responses of all that are asked, table `tables.EVALUATIONS`, for `ask_afresh`."""
    request = Request.read(workspace)
    prompts = read_split(workspace, "eval")
    conditions = value_conditions(workspace, template, generation, verifier, prompts)
    recorded = read_metadata(workspace.evaluations).get("fingerprint", {})
    check_fingerprint(workspace.evaluations, recorded, conditions)  # nobody has edited them since
    work = open_work(
        workspace.work(CONFIRM),
        {
            **conditions,
            **evaluation_conditions(seed, verifier, sampler, evaluation),
            **asdict(request),
            "order": prompt_order(prompts),
        },
    )
    asked = [
        _Asked("policy", workspace.policy, workspace.reference, template),
        _Asked("reference", workspace.reference, workspace.reference, template),
    ]
    if request.champion is not None:
        directory = champion_files(workspace) / MODEL
        with _named_as_the_champions():
            section = load_template_section(champion_files(workspace) / MODEL_PARAMS)
            load_prompt_template(ModelRef(path=directory, trust_remote_code=trust_remote_code), section)
        asked.append(_Asked("champion", directory, directory, section))
    count = len(asked) * evaluation.samples * len(prompts)
    evaluator = Evaluator(
        questions=to_questions(prompts),
        work=work,
        inspect=error_budget(verifier, rows=count),
        key=f"confirm/{request.policy_sha256}",
        rows=count,
        trust_remote_code=trust_remote_code,
        verifier=verifier,
        verifiers=workspace.raw_verifiers,
        generation=generation,
        sampler=sampler,
        evaluation=evaluation,
        workers=Workers.of(sampling, sampler),
    )
    tables = []
    for name, directory, tokenizer, section in asked:
        with _named_as_the_champions() if name == "champion" else nullcontext():
            tables.append(
                evaluator.evaluate(
                    name, directory, tokenizer=tokenizer, template=section, greedy=False, reference=None
                )
            )
    rows = pd.concat(tables, ignore_index=True)
    write_table(answers(workspace), rows, EVALUATIONS, asdict(request), checksums=True)
    return {
        "prompts": len(prompts),
        "responses": len(rows),
        "verifier_errors": int(rows["reward"].isna().sum()),
    }
