"""Stage `train`: from the reference and the value table to a policy, by the algorithm that is configured."""

from __future__ import annotations

import math

from apo_core import config
from apo_core.algorithms import make_algorithm
from apo_core.model.directory import ModelRef
from apo_core.model.loading import save_policy
from apo_core.model.lora import merged
from apo_core.model.template import stop_ids
from apo_core.sampling.vllm_sampler import vllm_version
from apo_core.system.files import sha256_of
from apo_core.tables import VALUES, read_metadata, read_table
from apo_core.training import ranks
from apo_core.training.context import TrainingContext
from apo_core.training.metrics import training_seconds
from apo_core.training.policy_copy import gathered
from apo_core.training.ranks import join_ranks
from apo_core.training.trainer import train as train_policy
from apo_core.values.fingerprint import check_fingerprint
from tasks.git import commit_of
from tasks.prompts.prompt_template import load_prompt_template
from tasks.prompts.table import read_split
from tasks.responses.conditions import prompt_order, value_conditions, verifier_limits
from tasks.responses.shards import open_work
from tasks.stages.process import Facts
from tasks.stages.training_setup import (
    expected_reward_in,
    make_checkpoints,
    make_guard,
    open_context,
    select_training_set,
)
from tasks.workspace import Workspace

# More steps, or a stricter guard, may go on from the checkpoints that are there; other ranks too, or they are
# refused.
_MAY_CHANGE = {"steps", "epochs", "checkpoint", "guard", "ranks", "hostfile", "sampler"}


def run(
    workspace: Workspace,
    seed: int,
    trust_remote_code: bool,
    template: config.Template,
    verifier: config.Verifiers,
    generation: config.Generation,
    sampler: config.Sampler,
    algorithm: config.Algorithm,
    train: config.Train,
) -> Facts:
    """Write `data/policy` and `data/metrics.jsonl`, from checkpoints that survive a kill."""
    join_ranks(train.ranks)
    prompts = read_split(workspace, "train")
    reference = ModelRef(
        path=workspace.reference,
        dtype=train.dtype,
        trust_remote_code=trust_remote_code,
        attention=train.attention,
    )
    prompt_template = load_prompt_template(reference, template)
    values = read_table(workspace.values, VALUES)
    recorded = read_metadata(workspace.values)
    conditions = value_conditions(workspace, template, generation, verifier, prompts)
    check_fingerprint(workspace.values, recorded.get("fingerprint", {}), conditions)
    work_conditions = {
        **conditions,
        "order": prompt_order(prompts),
        "values": sha256_of(workspace.values),
        "seed": seed,
        "algorithm": algorithm.model_dump(mode="json"),
        "train": train.model_dump(mode="json", exclude=_MAY_CHANGE),
        "engine": train.sampler.engine if train.sampler.engine == "transformers" else vllm_version(),
        "limits": verifier_limits(verifier),
    }
    work = ranks.first_only(lambda: open_work(workspace.work("train"), work_conditions))
    training_set = select_training_set(prompts, values, prompt_template)
    steps = train.steps or math.ceil((train.epochs or 0) * len(training_set.questions) / train.batch_size)
    stop = stop_ids(prompt_template.tokenizer, generation.stop_character)
    with open_context(
        reference,
        prompt_template,
        training_set,
        algorithm=make_algorithm(**algorithm.model_dump()),
        generation=generation,
        verifier=verifier,
        verifiers=workspace.raw_verifiers,
        train=train,
        vllm=sampler.vllm_in_training(train.sampler.vllm_override),
        stop=stop,
        max_length=template.max_prompt_tokens + generation.max_new_tokens,
        seed=seed,
    ) as context:
        checkpoints = make_checkpoints(work / "checkpoints", train.checkpoint, context.lagging)
        resumed = train_policy(
            context,
            steps=steps,
            batch_size=train.batch_size,
            checkpoint_every=train.checkpoint.every,
            checkpoints=checkpoints,
            guard=make_guard(train, expected_reward=expected_reward_in(workspace.values)),
            metrics_file=work / "metrics.jsonl",
        )
    with gathered(context.engine):
        ranks.first_only(lambda: _save(workspace, context, stop))
    # Not from the file that steps were added to: a byte of it may have changed in all the hours.
    metrics = ranks.first_only(lambda: checkpoints.restore_metrics(steps, workspace.metrics))
    return {
        "ranks": train.ranks,
        "steps": steps,
        "algorithm": algorithm.name,
        "prompts_per_step": train.batch_size,
        "responses_per_prompt": context.algorithm.responses,
        "git_commit": commit_of(workspace.root),
        "resumed_from_step": resumed,
        "train_seconds": training_seconds(metrics),
    }


def _save(workspace: Workspace, context: TrainingContext, stop: set[int]) -> None:
    policy = context.engine.module.model if context.adapters is None else merged(context.adapters)
    save_policy(
        policy,
        context.template.tokenizer,
        workspace.policy,
        max_new_tokens=context.max_new_tokens,
        temperature=context.temperature,
        stop=stop,
    )
