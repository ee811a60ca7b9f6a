"""From an evaluated policy to a candidate: compare with the champion, decide, register, propose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apo_core.config import Params
from apo_core.decisions.approval_rule import Draft, State
from apo_core.decisions.looks import alpha_of_look, note_look, number_of_look
from apo_core.decisions.policy_comparison import compare_policies, eval_sets
from apo_core.decisions.promotion_rule import PromotionDecision, decide_promotion, level_in_words
from apo_core.errors import ApoError
from apo_core.evaluation.comparison import sampled_rewards
from apo_core.evaluation.schema import Evaluation, read_written
from apo_core.system.files import sha256_of
from apo_core.tables import EVALUATIONS, PROMPTS, read_metadata, read_table
from tasks.decisions.decide import propose
from tasks.decisions.log import DecisionLog
from tasks.integrity.check import check_outputs
from tasks.tracking.registry import Registered, champion, find_version, refreshed, register
from tasks.workspace import STAGES, Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient


def promote(
    log: DecisionLog,
    workspace: Workspace,
    params: Params,
    *,
    run_id: str,
    started_by: str,
    tags: dict[str, str],
) -> tuple[PromotionDecision, Registered | None]:
    """Register the workspace's policy as a candidate if it is better than the reference and the champion.

    Doing it again changes nothing: a policy that is registered already keeps its version, and what was
    decided about it holds. A version that nobody decided on in time is proposed again.

    Raises:
        DamagedOutput: what lies there is not what the stages wrote, and so not what was evaluated.
    """
    check_outputs(workspace, STAGES)  # what is registered is what was evaluated
    client = log.client
    policy_sha256 = sha256_of(workspace.policy)
    # This sets the aliases too: else the policy may be compared with a former champion.
    look = _count_look(log, workspace, policy_sha256, started_by)
    registered = find_version(client, params.tracking.model, policy_sha256)
    decision = _decide(client, workspace, params, registered, look)
    if decision.outcome != "promote":
        return decision, registered
    if registered is None:
        registered = register(
            client,
            workspace.policy,
            name=params.tracking.model,
            run_id=run_id,
            policy_sha256=policy_sha256,
            tags=tags | {"decision": decision.reason},
        )
    evidence = tags | {"decision": decision.reason, "run_id": run_id, "policy_sha256": policy_sha256}
    propose(log, registered, params.promotion, started_by=started_by, evidence=evidence)
    return decision, refreshed(client, registered)


def _count_look(log: DecisionLog, workspace: Workspace, policy_sha256: str, started_by: str) -> int:
    """Count the comparison of a policy on the evaluation prompts in the log; the number that it has there."""
    evaluation_set = read_metadata(workspace.evaluations)["fingerprint"]["prompts"]
    numbers: list[int] = []

    def note(state: State) -> Draft | None:  # again, where another run writes at the same time
        numbers.append(number_of_look(state, evaluation_set, policy_sha256))
        return note_look(state, evaluation_set, policy_sha256, by=started_by)

    log.transact(note)
    return numbers[-1]


def _decide(
    client: MlflowClient,
    workspace: Workspace,
    params: Params,
    registered: Registered | None,
    look: int,
) -> PromotionDecision:
    evaluation = read_written(Evaluation, workspace.evaluation, stage="evaluate")
    rows = read_table(workspace.evaluations, EVALUATIONS)
    others = {"reference": sampled_rewards(rows, "reference")}
    current = champion(client, params.tracking.model)
    if current is not None and current != registered:
        from tasks.decisions.champion_rewards import champion_rewards  # seconds that only a challenger pays

        name = f"champion (version {current.version})"
        try:
            others[name] = champion_rewards(client, workspace, params, current)
        except ApoError as error:
            return PromotionDecision("hold", f"the {name} cannot be evaluated: {error}")
    try:
        comparisons = compare_policies(
            sampled_rewards(rows, "policy"),
            others,
            eval_sets(read_table(workspace.prompts, PROMPTS)),
            seed=params.seed,
            alpha=alpha_of_look(look),
            score=evaluation.policy.mean_name,
        )
    except ApoError as error:
        return PromotionDecision("hold", str(error))
    rule = params.promotion
    decision = decide_promotion(
        comparisons,
        prompts=evaluation.prompts,
        kl=evaluation.kl,
        min_prompts=rule.min_prompts,
        min_gain=rule.min_gain,
        max_kl=rule.max_kl,
    )
    if look == 1:
        return decision
    needed = level_in_words(alpha_of_look(look))
    return decision._replace(reason=f"{decision.reason}; look {look} at these prompts needs {needed}")
