"""Stage `sample`: sample responses to the training prompts from the frozen reference, and score them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from apo_core import config
from apo_core.errors import ApoError
from apo_core.model.directory import ModelRef
from apo_core.sampling.scored import Question
from apo_core.tables import SAMPLES, write_table
from apo_core.values.adaptive import unsettled
from apo_core.values.pooled import Prior, fit_prior, successes
from tasks.prompts.table import read_split, to_questions
from tasks.quality.checks import sample_checks
from tasks.quality.expectations import validate
from tasks.responses.conditions import engine_conditions, prompt_order, value_conditions, verifier_limits
from tasks.responses.jobs import Item, Job
from tasks.responses.sample_jobs import JobSpec, SampleJob, SettleJob, Tally
from tasks.responses.scoring import error_budget
from tasks.responses.shards import open_work, run_shards
from tasks.responses.workers import Workers
from tasks.rewards.hints import hints, short_form
from tasks.stages.process import Facts
from tasks.workspace import Workspace


def run(
    workspace: Workspace,
    seed: int,
    trust_remote_code: bool,
    template: config.Template,
    verifier: config.Verifiers,
    generation: config.Generation,
    sampler: config.Sampler,
    sampling: config.Sampling,
) -> Facts:
    """Write `data/samples.parquet`, from shards that survive a kill."""
    prompts = read_split(workspace, "train")
    fingerprint = value_conditions(workspace, template, generation, verifier, prompts)
    work = open_work(
        workspace.work("sample"),
        {
            **fingerprint,
            "order": prompt_order(prompts),
            "engine": engine_conditions(sampler),
            "limits": verifier_limits(verifier),
            "sampling": sampling.model_dump(mode="json", exclude={"executor", "workers"}),
            "seed": seed,
        },
    )
    reference = ModelRef(
        path=workspace.reference.resolve(), dtype=sampling.dtype, trust_remote_code=trust_remote_code
    )
    spec = JobSpec(
        policy=reference,
        tokenizer=reference,
        verifiers=workspace.raw_verifiers.resolve(),
        template=template,
        verifier=verifier,
        generation=generation,
        sampler=sampler,
        key=f"sample/{seed}",
        batch_size=sampling.batch_size,
        max_length=template.max_prompt_tokens + generation.max_new_tokens,
        rows=sampling.n * len(prompts),
        shaped=True,
    )
    questions = to_questions(prompts)
    if sampling.adaptive is None:
        samples = _sample_first(spec, sampling, work, questions, sampling.n)
    else:
        samples = _sample_adaptively(spec, sampling, work, questions, sampling.adaptive)
    _check(workspace, samples, sampling, len(prompts))
    print(
        short_form(samples), *hints(samples, max_new_tokens=generation.max_new_tokens), sep="\n", flush=True
    )
    metadata = {"fingerprint": fingerprint, "n": sampling.n}
    write_table(workspace.samples, samples, SAMPLES, metadata)
    return {
        "prompts": len(prompts),
        "responses": len(samples),
        "saved_responses": spec.rows - len(samples),
        "mean_reward": samples["reward"].mean(),
        "verifier_errors": int(samples["reward"].isna().sum()),
    }


def _sample_first(
    spec: JobSpec, sampling: config.Sampling, work: Path, questions: list[Question], n: int
) -> pd.DataFrame:
    """`n` responses per question."""
    spec = replace(spec, rows=n * len(questions))
    return _run_job(SampleJob(spec, range(n)), spec, sampling, work, questions, "sample")


def _sample_adaptively(
    spec: JobSpec,
    sampling: config.Sampling,
    work: Path,
    questions: list[Question],
    adaptive: config.Adaptive,
) -> pd.DataFrame:
    """As many responses per question as its V* needs, in the questions' order."""
    samples = _sample_first(spec, sampling, work, questions, adaptive.first)
    position = {question.prompt_id: index for index, question in enumerate(questions)}
    tallies, prior = _tallies(questions, position, samples, adaptive.beta1)
    if not _any_unsettled(tallies, prior, adaptive):
        return samples
    rest = replace(spec, rows=spec.rows - adaptive.first * len(questions))
    job = SettleJob(rest, adaptive, prior, sampling.n)
    more = _run_job(job, rest, sampling, work, tallies, "sample-more")
    samples = pd.concat([samples, more], ignore_index=True)
    # Shards were checked against the rows they might have come to; this is of those that were sampled.
    error_budget(spec.verifier, rows=len(samples))(samples)
    samples["position"] = samples["prompt_id"].map(position)
    return samples.sort_values(["position", "sample_index"], ignore_index=True)


def _run_job(
    job: Job[Item], spec: JobSpec, sampling: config.Sampling, work: Path, items: list[Item], name: str
) -> pd.DataFrame:
    """The rows of a job, on the workers that the configuration asks for."""
    return run_shards(
        work,
        items,
        partial(Workers.of(sampling, spec.sampler).make, job),
        shard_size=sampling.shard_prompts,
        schema=SAMPLES,
        name=name,
        inspect=error_budget(spec.verifier, rows=spec.rows),
    )


def _tallies(
    questions: list[Question], position: dict[str, int], samples: pd.DataFrame, beta1: float
) -> tuple[list[Tally], Prior]:
    scored = samples.dropna(subset=["reward"])
    scores = successes(torch.tensor(scored["reward"].to_numpy()), beta1)
    owner = torch.tensor(scored["prompt_id"].map(position).to_numpy())
    counts = torch.bincount(owner, minlength=len(questions))
    if int((counts > 0).sum()) < 2 or int(counts.max()) < 2:
        raise ApoError(
            "sampling.adaptive: needs two prompts with two responses that the verifier can score, found "
            f"{int((counts > 0).sum())} prompts with at most {int(counts.max())} scored responses"
        )
    sums = torch.bincount(owner, scores, minlength=len(questions))
    return list(map(Tally, questions, sums.tolist(), counts.tolist())), fit_prior(scores, owner)


def _any_unsettled(tallies: list[Tally], prior: Prior, adaptive: config.Adaptive) -> bool:
    sums = torch.tensor([tally.successes for tally in tallies], dtype=torch.float64)
    counts = torch.tensor([tally.scored for tally in tallies], dtype=torch.float64)
    positions = unsettled(sums, counts, prior=prior, beta1=adaptive.beta1, deviation=adaptive.deviation)
    return len(positions) > 0


def _check(workspace: Workspace, samples: pd.DataFrame, sampling: config.Sampling, prompts: int) -> None:
    first = sampling.n if sampling.adaptive is None else sampling.adaptive.first
    counts = [*range(first, sampling.n, first), sampling.n]  # that a prompt may have
    frame, checks = sample_checks(samples, counts=counts, prompts=prompts)
    report = workspace.validation("samples")
    validate(frame, checks, table=workspace.samples, row="row", report=report)
