"""Stage `report`: decide against the reference, plot, and summarise what the other stages made."""

from __future__ import annotations

import time
from typing import Any

import pandas as pd

from apo_core import config
from apo_core.decisions.policy_comparison import compare_policies, eval_sets
from apo_core.decisions.promotion_rule import decide_promotion
from apo_core.evaluation.comparison import sampled_rewards
from apo_core.evaluation.schema import Evaluation, read_written
from apo_core.system.files import read_json
from apo_core.tables import EVALUATIONS, PROMPTS, VALUES, read_metadata, read_table
from apo_core.training.metrics import read_metrics
from apo_core.values.fingerprint import digest
from apo_core.values.selection import dropped_but_solvable
from tasks.reporting.plots import plot_evaluation, plot_training, plot_values
from tasks.reporting.summary import (
    DecisionBlock,
    LineageBlock,
    ModelBlock,
    Report,
    TrainBlock,
    ValuesBlock,
)
from tasks.stages.process import Facts
from tasks.workspace import STAGES, Workspace


def run(workspace: Workspace, seed: int, promotion: config.Promotion, tracking: config.Tracking) -> Facts:
    """Write `reports/report.json`, `reports/plots` and `reports/summary.json`."""
    started = time.perf_counter()
    evaluation = read_json(workspace.evaluation)
    values = read_table(workspace.values, VALUES)
    plot_values(values, workspace.plots / "values.png")
    plot_training(pd.DataFrame(read_metrics(workspace.metrics)), workspace.plots / "training.png")
    plot_evaluation(evaluation, workspace.plots / "evaluation.png")
    facts = {stage: read_json(workspace.facts(stage)) for stage in STAGES if stage != "report"}
    scores = read_written(Evaluation, workspace.evaluation, stage="evaluate")
    report = _report(workspace, seed, scores, values, facts, promotion, tracking)
    seconds = report.seconds | {"report": round(time.perf_counter() - started, 3)}
    report = report.model_copy(update={"seconds": seconds})
    report.write(workspace.report)
    # The summary is no DVC output: the flow completes it with its decision, the registry's fields and the
    # hash of `dvc.lock`, which would otherwise depend on itself.
    reason = f"`apo run` decides and registers; so far: {report.decision.reason}"
    open_decision = DecisionBlock(outcome="open", reason=reason)
    report.model_copy(update={"decision": open_decision}).write(workspace.summary)
    return {"against_reference": report.decision.outcome}


def _report(
    workspace: Workspace,
    seed: int,
    evaluation: Evaluation,
    values: pd.DataFrame,
    facts: dict[str, Any],
    promotion: config.Promotion,
    tracking: config.Tracking,
) -> Report:
    rows = read_table(workspace.evaluations, EVALUATIONS)
    comparisons = compare_policies(
        sampled_rewards(rows, "policy"),
        {"reference": sampled_rewards(rows, "reference")},
        eval_sets(read_table(workspace.prompts, PROMPTS)),
        seed=seed,
        score=evaluation.policy.mean_name,
    )
    decision = decide_promotion(
        comparisons,
        prompts=evaluation.prompts,
        kl=evaluation.kl,
        min_prompts=promotion.min_prompts,
        min_gain=promotion.min_gain,
        max_kl=promotion.max_kl,
    )
    metadata, train = read_metadata(workspace.values), facts["train"]
    return Report(
        model=ModelBlock(name=tracking.model, version=None, aliases=[]),
        decision=DecisionBlock(outcome=decision.outcome, reason=decision.reason),
        eval=evaluation,
        values=ValuesBlock(
            prompts=len(values),
            kept=int(values["dropped"].isna().sum()),
            dropped={str(reason): count for reason, count in values["dropped"].value_counts().items()},
            dropped_but_solvable=dropped_but_solvable(values),
            n=metadata["n"],
            responses=facts["sample"]["responses"],
            beta1=metadata["beta1"],
        ),
        train=TrainBlock(
            algorithm=train["algorithm"],
            steps=train["steps"],
            prompts_per_step=train["prompts_per_step"],
            peak_rss_mib=train["peak_rss_mib"],
        ),
        seconds={stage: facts[stage]["seconds"] for stage in facts},
        lineage=LineageBlock(
            dvc_lock_sha256=None,
            fingerprint=digest(metadata["fingerprint"]),
            git_commit=train["git_commit"],
        ),
    )
