"""Stage `validate`: check the table of prompts before any response is sampled."""

from __future__ import annotations

from apo_core import config
from apo_core.model.directory import ModelRef
from apo_core.tables import PROMPTS, read_table
from tasks.prompts.prompt_template import load_prompt_template
from tasks.prompts.table import to_questions
from tasks.quality.checks import prompt_checks
from tasks.quality.expectations import validate
from tasks.responses.scoring import scorer_of
from tasks.stages.process import Facts
from tasks.workspace import Workspace


def run(
    workspace: Workspace, template: config.Template, verifier: config.Verifiers, trust_remote_code: bool
) -> Facts:
    """Check `data/prompts.parquet` and write `reports/validation/prompts.json`."""
    prompts = read_table(workspace.prompts, PROMPTS)
    prompt_template = load_prompt_template(
        ModelRef(path=workspace.reference, trust_remote_code=trust_remote_code), template
    )
    answers = [
        question._replace(answer=question.answer or "").attempt("", 0, 0)
        for question in to_questions(prompts)
    ]
    with scorer_of(verifier, workspace.raw_verifiers, rows=len(answers)) as scorer:
        problems = scorer.answer_problems(answers)
    frame, checks = prompt_checks(
        prompts,
        count_tokens=lambda prompt: len(prompt_template.encode(prompt)),
        answer_problems=problems,
        max_tokens=template.max_prompt_tokens,
    )
    report = workspace.validation("prompts")
    validate(frame, checks, table=workspace.prompts, row="source", report=report)
    return {"prompts": len(prompts), "longest_prompt_tokens": int(frame["tokens"].max())}
