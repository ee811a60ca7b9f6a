"""From an evaluated policy to a candidate: compare with the champion, decide, register, propose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apo_core.config import Params
from apo_core.decisions.approval_rule import Draft, State
from apo_core.decisions.looks import Look, alpha_of_look, note_look, number_of_look, sketch_of
from apo_core.decisions.policy_comparison import compare_policies, eval_sets
from apo_core.decisions.promotion_rule import (
    PromotionDecision,
    decide_promotion,
    decide_without_comparison,
    level_in_words,
)
from apo_core.errors import ApoError
from apo_core.evaluation.comparison import sampled_rewards
from apo_core.evaluation.schema import Evaluation, read_written
from apo_core.system.files import sha256_of
from apo_core.tables import EVALUATIONS, PROMPTS, read_table
from apo_core.values.fingerprint import digest
from tasks.decisions.decide import propose
from tasks.decisions.log import DecisionLog
from tasks.integrity.check import check_outputs
from tasks.tracking.model_files import FILES_TAG
from tasks.tracking.registry import Registered, champion, find_version, refreshed, register, tags_of
from tasks.workspace import STAGES, Workspace

if TYPE_CHECKING:
    pass


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
    log.sync()  # else the policy may be compared with a former champion
    registered = find_version(client, params.tracking.model, policy_sha256)
    decision = _decide(log, workspace, params, registered, policy_sha256, started_by)
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
    recorded = {FILES_TAG: tags_of(client, registered).get(FILES_TAG)}
    evidence = (
        tags | recorded | {"decision": decision.reason, "run_id": run_id, "policy_sha256": policy_sha256}
    )
    propose(log, registered, params.promotion, started_by=started_by, evidence=evidence)
    return decision, refreshed(client, registered)


def _decide(
    log: DecisionLog,
    workspace: Workspace,
    params: Params,
    registered: Registered | None,
    policy_sha256: str,
    started_by: str,
) -> PromotionDecision:
    evaluation = read_written(Evaluation, workspace.evaluation, stage="evaluate")
    rule = params.promotion
    early = decide_without_comparison(
        prompts=evaluation.prompts, kl=evaluation.kl, min_prompts=rule.min_prompts, max_kl=rule.max_kl
    )
    if early is not None:
        return early
    current = champion(log.client, params.tracking.model)
    if current == registered:
        current = None
    rows = read_table(workspace.evaluations, EVALUATIONS)
    others = {"reference": sampled_rewards(rows, "reference")}
    if current is not None:
        from tasks.decisions.champion_rewards import champion_rewards  # seconds that only a challenger pays

        name = f"champion (version {current.version})"
        try:
            others[name] = champion_rewards(log.client, workspace, params, current)
        except ApoError as error:
            return PromotionDecision("hold", f"the {name} cannot be evaluated: {error}")
    look = Look(
        comparison=digest([policy_sha256, sha256_of(workspace.evaluations), current and current.version]),
        sketch=sketch_of(rows["prompt_id"]),
    )
    number = _count(log, look, policy_sha256, started_by)
    try:
        comparisons = compare_policies(
            sampled_rewards(rows, "policy"),
            others,
            eval_sets(read_table(workspace.prompts, PROMPTS)),
            seed=params.seed,
            alpha=alpha_of_look(number),
            score=evaluation.policy.mean_name,
        )
    except ApoError as error:
        return PromotionDecision("hold", str(error))
    decision = decide_promotion(
        comparisons,
        prompts=evaluation.prompts,
        kl=evaluation.kl,
        min_prompts=rule.min_prompts,
        min_gain=rule.min_gain,
        max_kl=rule.max_kl,
    )
    if number == 1:
        return decision
    needed = level_in_words(alpha_of_look(number))
    return decision._replace(
        reason=f"{decision.reason}; look {number} at these evaluation prompts needs {needed}"
    )


def _count(log: DecisionLog, look: Look, policy_sha256: str, started_by: str) -> int:
    """Count a look in the log, before its result is known; the number that it has there."""
    numbers: list[int] = []

    def note(state: State) -> Draft | None:  # again, where another run writes at the same time
        numbers.append(number_of_look(state, look))
        return note_look(state, look, policy_sha256, by=started_by)

    log.transact(note)
    return numbers[-1]
