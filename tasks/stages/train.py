"""Stage `train`: from the reference and the value table to a policy, by the algorithm that is configured."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from apo_core import config
from apo_core.algorithms import make_algorithm
from apo_core.model.directory import ModelRef
from apo_core.model.loading import save_policy
from apo_core.model.lora import merged
from apo_core.model.template import Template, stop_ids
from apo_core.system.files import sha256_of, write_text
from apo_core.tables import VALUES, read_metadata, read_table
from apo_core.training import ranks
from apo_core.training.checkpoint import Checkpoints
from apo_core.training.context import Stage2, TrainingSet
from apo_core.training.engine import join_ranks
from apo_core.training.gathered import gathered
from apo_core.training.guard import Guard
from apo_core.training.metrics import read_metrics, training_seconds
from apo_core.training.trainer import train as train_policy
from apo_core.values.fingerprint import check_fingerprint
from apo_core.verifiers import ErrorBudget
from tasks.git import commit_of
from tasks.prompts.inputs import conditions_of_values, order_of, read_split
from tasks.prompts.template import encoder_of
from tasks.responses.scoring import scorer_of, verifier_of
from tasks.responses.shards import open_work
from tasks.stages.process import Facts
from tasks.stages.training_setup import make_learner, open_rollouts
from tasks.workspace import Workspace

# More steps, or a stricter guard, may go on from the checkpoints that are there; other ranks too, or they are
# refused.
_MAY_CHANGE = {"steps", "epochs", "checkpoint", "guard", "ranks", "hostfile", "sampler"}


def run(
    workspace: Workspace,
    seed: int,
    trust_remote_code: bool,
    template: config.Template,
    verifier: config.Verifier,
    generation: config.Generation,
    algorithm: config.Algorithm,
    train: config.Train,
) -> Facts:
    """Write `data/policy` and `data/metrics.jsonl`, from checkpoints that survive a kill."""
    join_ranks(train.ranks)
    judge = verifier_of(verifier, workspace.raw_verifiers)
    prompts = read_split(workspace, "train")
    reference = ModelRef(path=workspace.reference, dtype=train.dtype, trust_remote_code=trust_remote_code)
    encoder = encoder_of(reference, template)
    values = read_table(workspace.values, VALUES)
    conditions = conditions_of_values(workspace, template, generation, judge, prompts)
    check_fingerprint(workspace.values, read_metadata(workspace.values).get("fingerprint", {}), conditions)
    training_set = _training_set(prompts, values, encoder)
    steps = train.steps or math.ceil((train.epochs or 0) * len(training_set.prompt_ids) / train.batch_size)
    all_conditions = {
        **conditions,
        "order": order_of(prompts),
        "values": sha256_of(workspace.values),
        "seed": seed,
        "algorithm": algorithm.model_dump(mode="json"),
        "train": train.model_dump(mode="json", exclude=_MAY_CHANGE),
        "engine": train.sampler.engine,
    }
    work = ranks.first_only(lambda: open_work(workspace.work("train"), all_conditions))
    method = make_algorithm(**algorithm.model_dump())
    learner = make_learner(reference, generation, method, train, seed)
    metrics_file = work / "metrics.jsonl"
    recent = train.guard.window * train.batch_size * method.responses  # rows that the error share is of
    stop = stop_ids(encoder.tokenizer, generation.stop_character)
    with (
        scorer_of(verifier, workspace.raw_verifiers, rows=recent) as scorer,
        open_rollouts(
            reference,
            train,
            learner,
            encoder,
            training_set,
            stop=stop,
            max_length=template.max_prompt_tokens + generation.max_new_tokens,
        ) as sampler,
    ):
        stage = Stage2(
            engine=learner.engine,
            algorithm=method,
            reference=learner.reference,
            adapters=learner.adapters,
            sampler=sampler,
            template=encoder,
            scorer=scorer,
            errors=ErrorBudget(
                verifier.max_error_share,
                rows=recent,
                batches=train.guard.window,
            ),
            prompts=training_set,
            max_new_tokens=generation.max_new_tokens,
            temperature=generation.temperature,
            micro_batch_tokens=train.micro_batch_tokens,
            pad_id=encoder.tokenizer.pad_token_id,
            seed=seed,
            lagging=learner.lagging,
        )
        resumed = train_policy(
            stage,
            steps=steps,
            batch_size=train.batch_size,
            checkpoint_every=train.checkpoint.every,
            checkpoints=Checkpoints(
                work / "checkpoints",
                keep=train.checkpoint.keep,
                min_free_mib=train.checkpoint.min_free_mib,
                beside=None if learner.lagging is None else learner.lagging.model,
            ),
            guard=_guard(train.guard, values),
            metrics_file=metrics_file,
        )
    with gathered(stage.engine):
        ranks.first_only(lambda: _save(workspace, stage, generation, stop, metrics_file))
    return {
        "ranks": train.ranks,
        "steps": steps,
        "algorithm": algorithm.name,
        "prompts_per_step": train.batch_size,
        "responses_per_prompt": method.responses,
        "git_commit": commit_of(workspace.root),
        "resumed_from_step": resumed,
        "train_seconds": training_seconds(read_metrics(metrics_file)),
    }


def _save(
    workspace: Workspace, stage: Stage2, generation: config.Generation, stop: set[int], metrics_file: Path
) -> None:
    policy = stage.engine.module.model if stage.adapters is None else merged(stage.adapters)
    save_policy(
        policy,
        stage.template.tokenizer,
        workspace.policy,
        max_new_tokens=generation.max_new_tokens,
        temperature=generation.temperature,
        stop=stop,
    )
    write_text(workspace.metrics, metrics_file.read_text(encoding="utf-8"))


def _training_set(prompts: pd.DataFrame, values: pd.DataFrame, encoder: Template) -> TrainingSet:
    kept = prompts.merge(values[values["dropped"].isna()], on="prompt_id", how="inner", validate="one_to_one")
    return TrainingSet(
        prompt_ids=kept["prompt_id"].tolist(),
        token_ids=[encoder.encode(prompt) for prompt in kept["prompt"]],
        answers=kept["answer"].tolist(),
        rows=kept["row"].tolist(),
        values=kept["v_star"].tolist(),
    )


def _guard(guard: config.Guard, values: pd.DataFrame) -> Guard:
    return Guard(
        window=guard.window,
        max_kl=guard.max_kl,
        min_reward=guard.min_reward_share * values.loc[values["dropped"].isna(), "mean_reward"].mean(),
        min_length_share=guard.min_length_share,
    )
