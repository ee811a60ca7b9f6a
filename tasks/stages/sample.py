"""Stage `sample`: responses to the training prompts from the frozen reference, scored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from apo_core import config
from apo_core.errors import ApoError
from apo_core.sampling.scored import Question
from apo_core.tables import SAMPLES, write_table
from apo_core.values.adaptive import unsettled
from apo_core.values.pooled import Prior, fit_prior, successes
from tasks.prompts.inputs import conditions_of_values, order_of, questions_of, read_split
from tasks.quality.checks import sample_checks
from tasks.quality.expectations import validate
from tasks.responses.sample_jobs import SampleJob, Settings, SettleJob, Tally
from tasks.responses.samplers import engine_of
from tasks.responses.scoring import limits_of, spending, verifier_of
from tasks.responses.shards import open_work, run_shards
from tasks.responses.workers import Item, Job, spread
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
    sampling: config.Sampling,
) -> Facts:
    """Write `data/samples.parquet`, from shards that survive a kill."""
    judge = verifier_of(verifier, workspace.raw_verifiers)
    prompts = read_split(workspace, "train")
    conditions = conditions_of_values(workspace, template, generation, judge, prompts)
    work = open_work(
        workspace.work("sample"),
        {
            **conditions,
            "order": order_of(prompts),
            "engine": engine_of(sampler),
            "limits": limits_of(verifier),
            "sampling": sampling.model_dump(mode="json", exclude={"executor", "workers"}),
            "seed": seed,
        },
    )

    settings = Settings(
        workspace.reference.resolve(),
        workspace.raw_verifiers.resolve(),
        seed,
        trust_remote_code,
        template,
        verifier,
        generation,
        sampler,
        sampling,
        sampling.n * len(prompts),
    )
    samples, prior = _all_samples(settings, work, questions_of(prompts))
    rule = sampling.adaptive
    counts = [sampling.n] if rule is None else [*range(rule.first, sampling.n, rule.first), sampling.n]
    frame, checks = sample_checks(samples, counts=counts, prompts=len(prompts))
    report = workspace.validation("samples")
    validate(frame, checks, table=workspace.samples, row="row", report=report)
    # V* of another beta1 cannot be made of this prior.
    pooled = None if prior is None or rule is None else {**prior._asdict(), "beta1": rule.beta1}
    metadata = {"fingerprint": conditions, "n": sampling.n, "pooled": pooled}
    write_table(workspace.samples, samples, SAMPLES, metadata)
    return {
        "prompts": len(prompts),
        "responses": len(samples),
        "saved_responses": settings.rows - len(samples),
        "mean_reward": samples["reward"].mean(),
        "verifier_errors": int(samples["reward"].isna().sum()),
    }


def _all_samples(
    settings: Settings, work: Path, questions: list[Question]
) -> tuple[pd.DataFrame, Prior | None]:
    """Rows of every question in order, and the prior of adaptive sampling."""
    sampling, sampler = settings.sampling, settings.sampler
    rule = sampling.adaptive
    first = sampling.n if rule is None else rule.first

    def make(job: Job[Item], items: list[Item], name: str, rows: int) -> pd.DataFrame:
        gpus = sampler.vllm.tensor_parallel_size if sampler.engine == "vllm" else 1
        return run_shards(
            work,
            items,
            spread(job, executor=sampling.executor, workers=sampling.workers, gpus=gpus),
            shard_size=sampling.shard_prompts,
            schema=SAMPLES,
            name=name,
            inspect=spending(settings.verifier, rows=rows),
        )

    count = first * len(questions)
    samples = make(SampleJob(replace(settings, rows=count), first), questions, "sample", count)
    if rule is None:
        return samples, None
    place = {question.prompt_id: index for index, question in enumerate(questions)}
    tallies, prior = _tallies(questions, place, samples, rule)
    if not _any_unsettled(tallies, prior, rule):
        return samples, prior
    count = settings.rows - count
    more = make(SettleJob(replace(settings, rows=count), rule, prior), tallies, "sample-more", count)
    rows = pd.concat([samples, more], ignore_index=True)
    spending(settings.verifier, rows=len(rows))(rows)  # of those that were drawn, too
    ordered = rows.assign(place=rows["prompt_id"].map(place)).sort_values(
        ["place", "sample_index"], ignore_index=True
    )
    return ordered, prior


def _tallies(
    questions: list[Question], place: dict[str, int], samples: pd.DataFrame, rule: config.Adaptive
) -> tuple[list[Tally], Prior]:
    scored = samples.dropna(subset=["reward"])
    scores = successes(torch.tensor(scored["reward"].to_numpy()), rule.beta1)
    owner = torch.tensor(scored["prompt_id"].map(place).to_numpy())
    counts = torch.bincount(owner, minlength=len(questions))
    if int((counts > 0).sum()) < 2 or int(counts.max()) < 2:
        raise ApoError("sampling.adaptive: needs two prompts with two responses that the verifier can score")
    sums = torch.bincount(owner, scores, minlength=len(questions))
    return list(map(Tally, questions, sums.tolist(), counts.tolist())), fit_prior(scores, owner)


def _any_unsettled(tallies: list[Tally], prior: Prior, rule: config.Adaptive) -> bool:
    sums = torch.tensor([tally.successes for tally in tallies], dtype=torch.float64)
    counts = torch.tensor([tally.scored for tally in tallies], dtype=torch.float64)
    found = unsettled(sums, counts, prior=prior, beta1=rule.beta1, deviation=rule.deviation)
    return len(found) > 0
