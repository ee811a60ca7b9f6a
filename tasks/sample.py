"""Stage `sample`: responses to the training prompts from the frozen reference, scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

from apo_core import config
from apo_core.errors import ApoError
from apo_core.models import load_policy
from apo_core.pooled_values import Prior, fit_prior, pooled_value, successes
from apo_core.sampling.adaptive import draw_until_settled
from apo_core.sampling.scored import Question, Scored, sample_and_score
from apo_core.tables import SAMPLES, write_table
from apo_core.tokenization import stop_ids
from tasks.checks import sample_checks
from tasks.encoder import encoder_of
from tasks.inputs import conditions_of_values, order_of, questions_of, read_split
from tasks.quality import validate
from tasks.resume import open_work, run_shards
from tasks.samplers import engine_of, open_sampler
from tasks.scoring import limits_of, scorer_of, spending, verifier_of
from tasks.stage import Facts
from tasks.workers import Item, Job, spread
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
    tallies, prior = _tallies(questions, samples, rule)
    if not _unsettled(tallies, prior, rule):
        return samples, prior
    count = settings.rows - count
    more = make(SettleJob(replace(settings, rows=count), rule, prior), tallies, "sample-more", count)
    rows = pd.concat([samples, more], ignore_index=True)
    spending(settings.verifier, rows=len(rows))(rows)  # of those that were drawn, too
    place = {question.prompt_id: index for index, question in enumerate(questions)}
    ordered = rows.assign(place=rows["prompt_id"].map(place)).sort_values(
        ["place", "sample_index"], ignore_index=True
    )
    return ordered, prior


class Tally(NamedTuple):
    """A question and what its first samples came to."""

    question: Question
    successes: float
    scored: int


def _tallies(
    questions: list[Question], samples: pd.DataFrame, rule: config.Adaptive
) -> tuple[list[Tally], Prior]:
    place = {question.prompt_id: index for index, question in enumerate(questions)}
    scored = samples.dropna(subset=["reward"])
    scores = successes(torch.tensor(scored["reward"].to_numpy()), rule.beta1)
    owner = torch.tensor(scored["prompt_id"].map(place).to_numpy())
    counts = torch.bincount(owner, minlength=len(questions))
    if int((counts > 0).sum()) < 2 or int(counts.max()) < 2:
        raise ApoError("sampling.adaptive: needs two prompts with two responses that the verifier can score")
    sums = torch.bincount(owner, scores, minlength=len(questions))
    return list(map(Tally, questions, sums.tolist(), counts.tolist())), fit_prior(scores, owner)


def _unsettled(tallies: list[Tally], prior: Prior, rule: config.Adaptive) -> bool:
    sums, counts = (torch.tensor([tally[field] for tally in tallies]) for field in (1, 2))
    return bool((pooled_value(sums, counts, prior, rule.beta1)[1] > rule.deviation).any())


# Questions, how many responses each and the index of the first, to rows of `tables.SAMPLES`
DrawRows = Callable[[list[Question], int, int], pd.DataFrame]


@dataclass(frozen=True)
class Settings:
    """What a worker needs to draw and score responses by itself."""

    reference: Path  # absolute; every machine sees it
    verifiers: Path  # likewise
    seed: int
    trust_remote_code: bool
    template: config.Template
    verifier: config.Verifier
    generation: config.Generation
    sampler: config.Sampler
    sampling: config.Sampling
    rows: int  # of all workers together, at most

    @contextmanager
    def open(self) -> Iterator[DrawRows]:
        """What draws and scores, for as long as its engine is open."""
        load = partial(load_policy, dtype=self.sampling.dtype, trust_remote_code=self.trust_remote_code)
        encoder = encoder_of(self.reference, self.template, self.trust_remote_code)
        with (
            scorer_of(self.verifier, self.verifiers, rows=self.rows) as scorer,
            open_sampler(
                self.sampler,
                self.reference,
                partial(load, self.reference),
                encoder.tokenizer,
                dtype=self.sampling.dtype,
                batch_size=self.sampling.batch_size,
                stop=stop_ids(encoder.tokenizer, self.generation.stop_character),
                max_length=self.template.max_prompt_tokens + self.generation.max_new_tokens,
                trust_remote_code=self.trust_remote_code,
            ) as engine,
        ):

            def draw(questions: list[Question], n: int, start: int) -> pd.DataFrame:
                scored = sample_and_score(
                    questions,
                    n,
                    sampler=engine,
                    template=encoder,
                    scorer=scorer,
                    max_new_tokens=self.generation.max_new_tokens,
                    temperature=self.generation.temperature,
                    key=f"sample/{self.seed}",
                    start=start,
                )
                return pd.DataFrame(map(_row, scored)).astype({"reward": "float64"})

            yield draw


@dataclass(frozen=True)
class SampleJob:
    """The first responses to every question."""

    settings: Settings
    n: int

    @contextmanager
    def open(self) -> Iterator[Callable[[list[Question]], pd.DataFrame]]:
        """See `tasks.workers.Job`."""
        with self.settings.open() as draw:
            yield lambda questions: draw(questions, self.n, 0)


@dataclass(frozen=True)
class SettleJob:
    """Further responses to every question whose V* is not known yet."""

    settings: Settings
    rule: config.Adaptive
    prior: Prior

    @contextmanager
    def open(self) -> Iterator[Callable[[list[Tally]], pd.DataFrame]]:
        """See `tasks.workers.Job`."""
        with self.settings.open() as draw:
            yield partial(self._settle, draw)

    def _settle(self, draw: DrawRows, tallies: list[Tally]) -> pd.DataFrame:
        frames = [pd.DataFrame(columns=SAMPLES.names)]

        def more(positions: list[int], start: int, size: int) -> tuple[Tensor, Tensor]:
            frames.append(draw([tallies[position].question for position in positions], size, start))
            rewards = torch.tensor(frames[-1]["reward"].to_numpy()).view(-1, size)  # NaN where not scored
            return successes(rewards, self.rule.beta1).nansum(dim=1), (~rewards.isnan()).sum(dim=1)

        draw_until_settled(
            torch.tensor([tally.successes for tally in tallies], dtype=torch.float64),
            torch.tensor([tally.scored for tally in tallies], dtype=torch.float64),
            more,
            prior=self.prior,
            beta1=self.rule.beta1,
            deviation=self.rule.deviation,
            first=self.rule.first,
            limit=self.settings.sampling.n,
        )
        return frames[0] if len(frames) == 1 else pd.concat(frames[1:], ignore_index=True)


def _row(scored: Scored) -> dict[str, object]:
    return {
        "prompt_id": scored.question.prompt_id,
        "sample_index": scored.sample_index,
        "token_ids": scored.response.token_ids,
        "text": scored.text,
        "finish_reason": scored.response.finish_reason,
        "reward": scored.reward,
        "reason": scored.reason,
    }
