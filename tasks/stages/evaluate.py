"""Stage `evaluate`: evaluate reference and policy on the held-out prompts, greedy and sampled."""

from __future__ import annotations

from functools import partial

import pandas as pd

from apo_core import config
from apo_core.evaluation.comparison import summarise
from apo_core.system.files import sha256_of, write_json, write_text
from apo_core.tables import EVALUATIONS, write_table
from tasks.prompts.table import read_split, to_questions
from tasks.reporting.examples import examples_of
from tasks.responses.conditions import evaluation_conditions, prompt_order, value_conditions
from tasks.responses.evaluator import Evaluator
from tasks.responses.scoring import error_budget
from tasks.responses.shards import open_work
from tasks.responses.workers import Workers
from tasks.stages.process import Facts
from tasks.workspace import Workspace


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
    """Write `data/evaluations.parquet`, `reports/eval.json` and `reports/samples.md`."""
    prompts = read_split(workspace, "eval")
    fingerprint = value_conditions(workspace, template, generation, verifier, prompts)
    work = open_work(
        workspace.work("evaluate"),
        {
            **fingerprint,
            **evaluation_conditions(seed, verifier, sampler, evaluation),
            "order": prompt_order(prompts),
            "policy": sha256_of(workspace.policy),
        },
    )
    count = 2 * (1 + evaluation.samples) * len(prompts)
    evaluator = Evaluator(
        questions=to_questions(prompts),
        work=work,
        inspect=error_budget(verifier, rows=count),
        key=f"evaluate/{seed}",
        rows=count,
        trust_remote_code=trust_remote_code,
        verifier=verifier,
        verifiers=workspace.raw_verifiers,
        generation=generation,
        sampler=sampler,
        evaluation=evaluation,
        workers=Workers.of(sampling, sampler),
    )
    evaluate = partial(evaluator.evaluate, tokenizer=workspace.reference, template=template, greedy=True)
    of_reference = evaluate("reference", workspace.reference, reference=None)
    of_policy = evaluate("policy", workspace.policy, reference=workspace.reference)
    rows = pd.concat([of_reference, of_policy], ignore_index=True)
    write_table(workspace.evaluations, rows, EVALUATIONS, {"fingerprint": fingerprint})
    write_json(workspace.evaluation, summarise(rows, prompts, seed=seed))
    write_text(workspace.examples, examples_of(rows, prompts))
    return {
        "prompts": len(prompts),
        "responses": len(rows),
        "verifier_errors": int(rows["reward"].isna().sum()),
    }
