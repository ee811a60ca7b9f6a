"""From an evaluated policy to a candidate: compare, confirm with fresh responses, register, propose."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pandas as pd

from apo_core.config import Params
from apo_core.decisions.approval_rule import ChampionChanged, Draft, State
from apo_core.decisions.looks import Look, alpha_of_look, note_look, number_of_look, prompts_seen
from apo_core.decisions.policy_comparison import compare_policies, eval_sets
from apo_core.decisions.promotion_rule import (
    PromotionDecision,
    confirm_decision,
    decide_promotion,
    decide_without_comparison,
    gains_in_words,
    level_in_words,
)
from apo_core.errors import ApoError
from apo_core.evaluation.comparison import sampled_rewards
from apo_core.evaluation.schema import Evaluation, read_written
from apo_core.system.files import sha256_of
from apo_core.tables import EVALUATIONS, PROMPTS, read_table
from apo_core.values.fingerprint import digest
from tasks.decisions.confirmation import ChampionLost, ask_afresh, keep_with_run
from tasks.decisions.decide import propose
from tasks.decisions.log import DecisionLog
from tasks.integrity.check import check_outputs
from tasks.tracking.model_files import FILES_TAG
from tasks.tracking.registry import Registered, find, find_version, refreshed, register, tags_of
from tasks.workspace import STAGES, Workspace


def promote(
    log: DecisionLog,
    workspace: Workspace,
    params: Params,
    *,
    run_id: str,
    started_by: str,
    tags: dict[str, str],
    say: Callable[[str], None] = print,
) -> tuple[PromotionDecision, Registered | None]:
    """Register the workspace's policy as a candidate if it is shown to be better than reference and champion.

    First its evaluation is compared with the reference's. If it passes, policy, reference and champion are
    asked afresh, and it has to pass once more.

    Doing it again changes nothing: a policy that is registered already keeps its version, and what was
    decided about it holds. A version that nobody decided on in time is proposed again.

    Args:
        log: of the decisions on the model.
        workspace: its policy has been evaluated.
        params: of the workspace.
        run_id: of the MLflow run that a new version is of.
        started_by: the person who started it.
        tags: of a new version, and part of the evidence.
        say: is given every line of the confirmation's output as it comes.

    Raises:
        DamagedOutput: what lies there is not what the stages wrote, and so not what was evaluated.
        StageRefused: the confirmation refused something that trying again cannot help.
        StageFailed: the confirmation ended otherwise.
    """
    check_outputs(workspace, STAGES)  # what is registered is what was evaluated
    client = log.client
    policy_sha256 = sha256_of(workspace.policy)
    log.sync()  # else the policy may be compared with a former champion
    # By the log and not by the alias: another process may have written and not yet moved it.
    in_production = log.state().champion
    current = None if in_production is None else find(client, params.tracking.model, in_production)
    registered = find_version(client, params.tracking.model, policy_sha256)
    if registered is not None and registered.version == in_production:
        reason = tags_of(client, registered).get("decision", "")
        return PromotionDecision("promote", f"it is the champion already: {reason}"), registered
    decision, confirmed_by = _decide(
        log,
        workspace,
        params,
        run_id=run_id,
        policy_sha256=policy_sha256,
        current=current,
        started_by=started_by,
        say=say,
    )
    if decision.outcome != "promote":
        return decision, registered
    evidence = tags | confirmed_by | {"decision": decision.reason}
    if registered is None:
        registered = register(
            client,
            workspace.policy,
            name=params.tracking.model,
            run_id=run_id,
            policy_sha256=policy_sha256,
            tags=evidence,
        )
    elif registered.run_id == run_id:  # by a comparison with a champion that was replaced meanwhile
        for name in (*confirmed_by, "decision"):
            client.set_model_version_tag(registered.name, registered.version, name, evidence[name])
    recorded = {FILES_TAG: tags_of(client, registered).get(FILES_TAG)}
    try:
        propose(
            log,
            registered,
            params.promotion,
            started_by=started_by,
            evidence=evidence
            | recorded
            | {"run_id": run_id, "policy_sha256": policy_sha256}
            | {"champion": in_production, "compared_with": current and current.version},
        )
    except ChampionChanged as change:  # while the policy was asked: it has not been compared with that one
        say(f"{change}; compared again")
        return promote(log, workspace, params, run_id=run_id, started_by=started_by, tags=tags, say=say)
    return decision, refreshed(client, registered)


def _decide(
    log: DecisionLog,
    workspace: Workspace,
    params: Params,
    *,
    run_id: str,
    policy_sha256: str,
    current: Registered | None,
    started_by: str,
    say: Callable[[str], None],
) -> tuple[PromotionDecision, dict[str, str]]:
    """Decide by the evaluation, and by fresh responses if it passes; with tags of what confirmed it."""
    evaluation = read_written(Evaluation, workspace.evaluation, stage="evaluate")
    rule = params.promotion
    early = decide_without_comparison(
        prompts=evaluation.prompts, kl=evaluation.kl, min_prompts=rule.min_prompts, max_kl=rule.max_kl
    )
    if early is not None:
        return early, {}
    rows = read_table(workspace.evaluations, EVALUATIONS)
    look = Look(
        comparison=digest([policy_sha256, sha256_of(workspace.evaluations), current and current.version]),
        prompts=prompts_seen(rows["prompt_id"]),
    )
    number = _count(log, look, policy_sha256, started_by)
    compare = partial(_decide_by, workspace=workspace, params=params, evaluation=evaluation, number=number)
    decision = compare(rows, {"reference": "reference"})
    if decision.outcome != "promote":
        return _name_look(decision, number), {}
    names = {"reference": "reference"}
    if current is not None:
        names["champion"] = f"champion (version {current.version})"
    say(f"asking policy, {' and '.join(names.values())} afresh, to confirm what the evaluation says")
    try:
        fresh = ask_afresh(log.client, workspace, policy_sha256=policy_sha256, current=current, log=say)
    except ChampionLost as loss:
        return PromotionDecision("hold", f"by its evaluation {decision.reason}, but {loss}"), {}
    digest_of_fresh = keep_with_run(log.client, run_id, workspace)
    confirmed = confirm_decision(decision, compare(fresh, names))
    return _name_look(confirmed, number), {
        "confirmation_sha256": digest_of_fresh,
        "confirmed_gain": gains_in_words(confirmed.gains),
    }


def _decide_by(
    rows: pd.DataFrame,
    names: dict[str, str],
    *,
    workspace: Workspace,
    params: Params,
    evaluation: Evaluation,
    number: int,
) -> PromotionDecision:
    """Decide by responses of the policy and of others, at the level of a look.

    Args:
        rows: table `tables.EVALUATIONS`.
        names: what the other policies are called, by their name in the rows.
        workspace: of the policy.
        params: of the workspace.
        evaluation: figures of the policy's evaluation.
        number: of the look.
    """
    rule = params.promotion
    try:
        comparisons = compare_policies(
            sampled_rewards(rows, "policy"),
            {name: sampled_rewards(rows, policy) for policy, name in names.items()},
            eval_sets(read_table(workspace.prompts, PROMPTS)),
            seed=params.seed,
            alpha=alpha_of_look(number),
            score=evaluation.policy.mean_name,
        )
    except ApoError as error:
        return PromotionDecision("hold", str(error))
    return decide_promotion(
        comparisons,
        prompts=evaluation.prompts,
        kl=evaluation.kl,
        min_prompts=rule.min_prompts,
        min_gain=rule.min_gain,
        max_kl=rule.max_kl,
    )


def _name_look(decision: PromotionDecision, number: int) -> PromotionDecision:
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
