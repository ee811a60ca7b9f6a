"""Stage `validate`: check the table of prompts before any response is sampled."""

from __future__ import annotations

from apo_core import config
from apo_core.errors import ApoError, InputError
from apo_core.model.architecture_checks import check_context
from apo_core.model.directory import ModelRef
from apo_core.model.loading import load_config, saved_end_ids
from apo_core.model.prompt_checks import read_prompts, token_check
from apo_core.model.template import stop_ids
from apo_core.tables import PROMPTS, read_table
from apo_core.verifiers import attempt_at
from tasks.prompts.prompt_template import load_prompt_template
from tasks.prompts.table import to_questions
from tasks.quality.checks import prompt_checks
from tasks.quality.expectations import validate
from tasks.responses.scoring import scorer_of
from tasks.rewards.unused import unused_verifier
from tasks.stages.process import Facts
from tasks.workspace import Workspace


def run(
    workspace: Workspace,
    template: config.Template,
    verifier: config.Verifiers,
    generation: config.Generation,
    trust_remote_code: bool,
) -> Facts:
    """Check `data/prompts.parquet` and write `reports/validation/prompts.json`."""
    prompts = read_table(workspace.prompts, PROMPTS)
    source = ModelRef(path=workspace.reference, trust_remote_code=trust_remote_code)
    model = load_config(source)
    try:
        check_context(model, prompt_tokens=template.max_prompt_tokens, new_tokens=generation.max_new_tokens)
    except ApoError as error:
        raise InputError(workspace.params, str(error)) from None
    questions = to_questions(prompts)
    unused = unused_verifier(verifier, ((question.set, question.group) for question in questions))
    if unused is not None:
        raise InputError(workspace.params, unused, field="verifier")
    prompt_template = load_prompt_template(source, template)
    tokenizer = prompt_template.tokenizer
    stop = stop_ids(tokenizer, generation.stop_character)
    problem = token_check(
        tokenizer,
        style=template.style,
        end_ids=saved_end_ids(workspace.reference, tokenizer) | stop,
        embeddings=model.get_text_config(decoder=True).vocab_size,
    )
    lengths, prompt_problems = read_prompts(prompt_template, prompts["prompt"], problem)
    answers = [attempt_at(question._replace(answer=question.answer or ""), "") for question in questions]
    with scorer_of(verifier, workspace.raw_verifiers, rows=len(answers)) as scorer:
        problems = scorer.answer_problems(answers)
    frame, checks = prompt_checks(
        prompts,
        tokens=lengths,
        prompt_problems=prompt_problems,
        answer_problems=problems,
        max_tokens=template.max_prompt_tokens,
    )
    report = workspace.validation("prompts")
    validate(frame, checks, table=workspace.prompts, row="source", report=report)
    return {"prompts": len(prompts), "longest_prompt_tokens": int(frame["tokens"].max())}
