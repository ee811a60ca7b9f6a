"""Stage `evaluate`: reference and policy on the held-out prompts, greedy and sampled."""

from __future__ import annotations

import pandas as pd

from apo_core import config
from apo_core.evaluation.comparison import summarise
from apo_core.model.directory import ModelRef
from apo_core.system.files import sha256_of, write_json, write_text
from apo_core.tables import EVALUATIONS, write_table
from tasks.prompts.inputs import conditions_of_values, order_of, questions_of, read_split
from tasks.prompts.template import encoder_of
from tasks.reporting.examples import examples_of
from tasks.responses.evaluator import Asking
from tasks.responses.scoring import scorer_of, spending, verifier_of
from tasks.responses.shards import open_work
from tasks.stages.process import Facts
from tasks.workspace import Workspace


def run(
    workspace: Workspace,
    seed: int,
    trust_remote_code: bool,
    template: config.Template,
    verifier: config.Verifier,
    generation: config.Generation,
    sampler: config.Sampler,
    evaluation: config.Evaluation,
) -> Facts:
    """Write `data/evaluations.parquet`, `reports/eval.json` and `reports/samples.md`."""
    judge = verifier_of(verifier, workspace.raw_verifiers)
    prompts = read_split(workspace, "eval")
    encoder = encoder_of(ModelRef(path=workspace.reference, trust_remote_code=trust_remote_code), template)
    conditions = conditions_of_values(workspace, template, generation, judge, prompts)
    asking = Asking(seed, trust_remote_code, verifier, generation, sampler, evaluation)
    work = open_work(
        workspace.work("evaluate"),
        {
            **conditions,
            **asking.conditions(),
            "order": order_of(prompts),
            "policy": sha256_of(workspace.policy),
        },
    )
    count = 2 * (1 + evaluation.samples) * len(prompts)
    inspect = spending(verifier, rows=count)
    with scorer_of(verifier, workspace.raw_verifiers, rows=count) as scorer:
        tables = [
            asking.ask(
                questions_of(prompts),
                work,
                name=f"evaluate-{policy}",
                policy=policy,
                directory=directory,
                encoder=encoder,
                scorer=scorer,
                inspect=inspect,
                greedy=True,
                reference=measured_to,
            )
            for policy, directory, measured_to in (
                ("reference", workspace.reference, None),
                ("policy", workspace.policy, workspace.reference),
            )
        ]
    rows = pd.concat(tables, ignore_index=True)
    write_table(workspace.evaluations, rows, EVALUATIONS, {"fingerprint": conditions})
    write_json(workspace.evaluation, summarise(rows, prompts, seed=seed))
    write_text(workspace.examples, examples_of(rows, prompts))
    return {
        "prompts": len(prompts),
        "responses": len(rows),
        "verifier_errors": int(rows["reward"].isna().sum()),
    }
