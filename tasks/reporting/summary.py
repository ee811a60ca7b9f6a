"""`reports/report.json` and `reports/summary.json` as types, and how the one becomes the other.

Stage `report` writes the report: what a pipeline run has made. The pipeline completes it to the summary: what
came of it. That is the decision, the registry's version, the approval, MLflow's run and the hash of
`dvc.lock`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from apo_core.decisions.approval_rule import State, expired_undecided, has_expired
from apo_core.decisions.audit_chain import Event
from apo_core.decisions.promotion_rule import Outcome, PromotionDecision
from apo_core.errors import InputError
from apo_core.evaluation.schema import Evaluation, read_written
from apo_core.system.files import sha256_of, write_json
from tasks.decisions.log import DecisionLog
from tasks.tracking.registry import Registered, find
from tasks.tracking.runs import NOT_IN_NAMES
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient


class _Block(BaseModel):
    """An object of the JSON files."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelBlock(_Block):
    """The registered model."""

    name: str
    version: str | None  # None if nothing was registered
    aliases: list[str]


class GainBlock(_Block):
    """A gain on all evaluation prompts, by fresh responses."""

    against: str
    gain: float
    low: float
    high: float  # ends of its paired interval
    alpha: float  # chance that the true gain lies outside of it


class DecisionBlock(_Block):
    """What the promotion rule says; `open` if no pipeline run has decided yet."""

    outcome: Outcome | Literal["open"]
    reason: str
    confirmed: list[GainBlock] = []  # over each of the other policies; empty if none was asked afresh

    @classmethod
    def of(cls, decision: PromotionDecision) -> Self:
        """The block of a decision."""
        gains = decision.gains if decision.confirmed else ()
        return cls(
            outcome=decision.outcome,
            reason=decision.reason,
            confirmed=[
                GainBlock(
                    against=part.against, gain=part.gain, low=part.low, high=part.high, alpha=part.alpha
                )
                for part in gains
            ],
        )


class ValuesBlock(_Block):
    """The value table."""

    prompts: int
    kept: int  # prompts that stage `train` may use
    dropped: dict[str, int]  # prompts that it may not use, by reason
    dropped_but_solvable: int  # of the unsolved ones, how many can be expected to be solvable
    n: int  # most responses per prompt
    responses: int
    beta1: float


class TrainBlock(_Block):
    """The training."""

    algorithm: str
    steps: int
    prompts_per_step: int
    peak_rss_mib: float


class LineageBlock(_Block):
    """What names the inputs."""

    dvc_lock_sha256: str | None  # None in the report: `dvc.lock` holds the hash of the report
    fingerprint: str  # of the value table
    git_commit: str | None  # of the training; None outside git


class ApprovalBlock(_Block):
    """The last entry of the log of decisions on the version."""

    event: Event
    by: str
    reason: str
    time: str  # ISO 8601, UTC
    waits: bool  # whether a person has to decide


class Report(_Block):
    """`reports/report.json`."""

    model: ModelBlock
    decision: DecisionBlock
    eval: Evaluation
    values: ValuesBlock
    train: TrainBlock
    seconds: dict[str, float]  # by stage
    lineage: LineageBlock

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read a file.

        Raises:
            InputError: it has other fields, as those of other versions of apo-flow have.
        """
        return read_written(cls, file, stage="report")

    def as_json(self) -> dict[str, Any]:
        """The object of the JSON file."""
        return self.model_dump(mode="json")

    def write(self, file: Path) -> None:
        """Write the file, whole or not at all."""
        write_json(file, self.as_json())


class Summary(Report):
    """`reports/summary.json` of a finished pipeline run."""

    approval: ApprovalBlock | None  # None if the version was never a candidate
    run_id: str  # MLflow's

    @property
    def waits(self) -> bool:
        """Whether the version waits for a person."""
        return self.approval is not None and self.approval.waits


def complete_summary(
    log: DecisionLog,
    workspace: Workspace,
    *,
    decision: PromotionDecision,
    registered: Registered | None,
    run_id: str,
) -> Summary:
    """Complete the report of a workspace to the summary of its run."""
    report = Report.read(workspace.report)
    model, approval = report.model, None
    if registered is not None:
        model = model.model_copy(update={"version": registered.version, "aliases": registered.aliases})
        approval = _approval(log.state(), registered.version)
    completed = {
        "decision": DecisionBlock.of(decision),
        "model": model,
        "lineage": report.lineage.model_copy(update={"dvc_lock_sha256": sha256_of(workspace.lock)}),
    }
    return Summary(**(dict(report) | completed), approval=approval, run_id=run_id)


def finished_summary(workspace: Workspace) -> Summary | None:
    """Read the summary of the last pipeline run, if it is complete and describes the present `dvc.lock`.

    What it says of the registry may be history: see `refresh_summary`.
    """
    if not (workspace.summary.exists() and workspace.lock.exists()):
        return None
    try:
        summary = Summary.read(workspace.summary)
    except InputError:  # stage `report` has written it, or an earlier version: no run has completed it
        return None
    return summary if summary.lineage.dvc_lock_sha256 == sha256_of(workspace.lock) else None


def refresh_summary(log: DecisionLog, summary: Summary) -> tuple[Summary, bool]:
    """Bring aliases and approval of a summary up to date.

    Returns:
        The summary, and whether it still holds. It does not if the registry has lost the version, or if
        nobody decided on the version in time: then the version goes to the registry again, which compares it
        with the present champion and proposes it anew.
    """
    version = summary.model.version
    if version is None:
        return summary, True
    registered = find(log.client, log.model, version)
    if registered is None:
        return summary, False
    state = log.state()
    refreshed = summary.model_copy(
        update={
            "model": summary.model.model_copy(update={"aliases": registered.aliases}),
            "approval": _approval(state, version),
        }
    )
    was_promoted = summary.decision.outcome == "promote"
    return refreshed, not (was_promoted and expired_undecided(state, version, datetime.now(UTC)))


def _approval(state: State, version: str) -> ApprovalBlock | None:
    last, pending = state.last.get(version), state.pending
    if last is None:
        return None
    waits = pending is not None and pending == last and not has_expired(pending, datetime.now(UTC))
    return ApprovalBlock(event=last.event, by=last.by, reason=last.reason, time=last.time, waits=waits)


def log_summary(client: MlflowClient, run_id: str, summary: Summary) -> None:
    """Attach the summary of a run, and the metrics that people sort runs by."""
    from mlflow.entities import Metric

    client.log_dict(run_id, summary.as_json(), "reports/summary.json")
    evaluation = summary.eval
    mean = "pass_at_1" if evaluation.policy.reward is None else "reward"
    metrics = {
        "eval/gain": evaluation.gain,
        "eval/kl": evaluation.kl,
        f"eval/reference_{mean}": evaluation.reference.mean,
        f"eval/policy_{mean}": evaluation.policy.mean,
        "train/peak_rss_mib": summary.train.peak_rss_mib,
        "seconds": sum(summary.seconds.values()),
    }
    for confirmed in summary.decision.confirmed:
        metrics[f"confirmed/gain_over_{confirmed.against.split()[0]}"] = confirmed.gain  # without its version
    for name, block in evaluation.sets.items():
        metrics[f"eval/gain/{re.sub(NOT_IN_NAMES, '_', name)}"] = block.gain
    # The same time at every retry: a metric sent with two times becomes two points.
    time_of_run = client.get_run(run_id).info.start_time
    client.log_batch(run_id, metrics=[Metric(name, value, time_of_run, 0) for name, value in metrics.items()])
