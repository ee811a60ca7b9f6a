"""Stage `train`: A*-PO's second stage, from the reference and the value table to a policy."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
from transformers import PreTrainedModel

from apo_core import config
from apo_core.adapters import AdaptersOff, add_adapters, merged
from apo_core.files import sha256_of, write_text
from apo_core.fingerprint import check_fingerprint
from apo_core.logprobs import ResponseLogProbs
from apo_core.models import load_policy, save_policy
from apo_core.tables import VALUES, read_metadata, read_table
from apo_core.tokenization import Template
from apo_core.training import ranks
from apo_core.training.checkpoint import Checkpoints
from apo_core.training.engine import join_ranks, start_engine
from apo_core.training.gathered import gathered
from apo_core.training.guard import Guard
from apo_core.training.metrics import read_metrics
from apo_core.training.step import ReferenceLogProbs, Stage2, TrainingSet
from apo_core.training.trainer import train as train_policy
from apo_core.verifiers import Verifier, make_verifier
from tasks.encoder import encoder_of
from tasks.git import commit_of
from tasks.inputs import conditions_of_values, make_sampler, order_of, read_split
from tasks.resume import open_work
from tasks.stage import Facts
from tasks.workspace import Workspace

# More steps, or a stricter guard, may go on from the checkpoints that are there; other ranks too, or they are
# refused.
_MAY_CHANGE = {"steps", "epochs", "checkpoint", "guard", "ranks", "hostfile"}


def run(
    workspace: Workspace,
    seed: int,
    trust_remote_code: bool,
    template: config.Template,
    verifier: config.Verifier,
    generation: config.Generation,
    train: config.Train,
) -> Facts:
    """Write `data/policy` and `data/metrics.jsonl`, from checkpoints that survive a kill."""
    join_ranks(train.ranks)
    judge = make_verifier(verifier.name)
    prompts = read_split(workspace, "train")
    encoder = encoder_of(workspace.reference, template, trust_remote_code)
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
        "train": train.model_dump(mode="json", exclude=_MAY_CHANGE),
    }
    work = ranks.first_only(lambda: open_work(workspace.work("train"), all_conditions))
    stage = _stage(workspace, seed, trust_remote_code, generation, train, encoder, judge, training_set)
    metrics_file = work / "metrics.jsonl"
    resumed = train_policy(
        stage,
        steps=steps,
        batch_size=train.batch_size,
        checkpoint_every=train.checkpoint.every,
        checkpoints=Checkpoints(
            work / "checkpoints", keep=train.checkpoint.keep, min_free_mib=train.checkpoint.min_free_mib
        ),
        guard=Guard(
            window=train.guard.window,
            max_kl=train.guard.max_kl,
            min_reward=train.guard.min_reward_share * values.loc[values["kept"], "mean_reward"].mean(),
            min_length_share=train.guard.min_length_share,
        ),
        metrics_file=metrics_file,
    )
    with gathered(stage.engine):
        ranks.first_only(lambda: _save(workspace, stage, generation, metrics_file))
    return {
        "ranks": train.ranks,
        "steps": steps,
        "prompts_per_step": train.batch_size,
        "git_commit": commit_of(workspace.root),
        "resumed_from_step": resumed,
        "train_seconds": sum(
            row["sampling_seconds"] + row["update_seconds"] for row in read_metrics(metrics_file)
        ),
    }


def _save(workspace: Workspace, stage: Stage2, generation: config.Generation, metrics_file: Path) -> None:
    policy = stage.engine.module.model if stage.adapters is None else merged(stage.adapters)
    save_policy(
        policy,
        stage.template.tokenizer,
        workspace.policy,
        max_new_tokens=generation.max_new_tokens,
        temperature=generation.temperature,
    )
    write_text(workspace.metrics, metrics_file.read_text(encoding="utf-8"))


def _training_set(prompts: pd.DataFrame, values: pd.DataFrame, encoder: Template) -> TrainingSet:
    kept = prompts.merge(values[values["kept"]], on="prompt_id", how="inner", validate="one_to_one")
    return TrainingSet(
        prompt_ids=kept["prompt_id"].tolist(),
        token_ids=[encoder.encode(prompt) for prompt in kept["prompt"]],
        answers=kept["answer"].tolist(),
        values=kept["v_star"].tolist(),
    )


def _stage(
    workspace: Workspace,
    seed: int,
    trust_remote_code: bool,
    generation: config.Generation,
    train: config.Train,
    encoder: Template,
    judge: Verifier,
    training_set: TrainingSet,
) -> Stage2:
    policy = load_policy(workspace.reference, dtype=train.dtype, trust_remote_code=trust_remote_code)
    adapters = None if train.lora is None else add_adapters(policy, **train.lora.model_dump(), seed=seed)
    if train.gradient_checkpointing:
        policy.gradient_checkpointing_enable()
    log_probs = ResponseLogProbs(policy, temperature=generation.temperature)
    reference: ReferenceLogProbs | None = None
    if train.beta2 and adapters is not None:
        reference = AdaptersOff(log_probs, adapters)
    elif train.beta2:
        frozen = load_policy(workspace.reference, dtype=train.dtype, trust_remote_code=trust_remote_code)
        reference = _frozen(frozen, generation.temperature)
    engine = start_engine(
        log_probs,
        learning_rate=train.learning_rate,
        adam_betas=train.adam_betas,
        weight_decay=train.weight_decay,
        max_grad_norm=train.max_grad_norm,
        dtype=train.dtype,
        zero_stage=train.zero_stage,
        offload=train.offload,
    )
    tokenizer = encoder.tokenizer
    return Stage2(
        engine=engine,
        reference=reference,
        adapters=adapters,
        sampler=make_sampler(policy, tokenizer, batch_size=train.rollout_batch_size),
        template=encoder,
        verifier=judge,
        prompts=training_set,
        beta2=train.beta2,
        max_new_tokens=generation.max_new_tokens,
        temperature=generation.temperature,
        micro_batch_tokens=train.micro_batch_tokens,
        pad_id=tokenizer.pad_token_id,
        seed=seed,
    )


def _frozen(model: PreTrainedModel, temperature: float) -> ResponseLogProbs:
    model.requires_grad_(False)
    return ResponseLogProbs(model, temperature=temperature)
