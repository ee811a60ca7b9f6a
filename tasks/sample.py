"""Stage `sample`: N responses a training prompt from the frozen reference, scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from apo_core import config
from apo_core.models import load_policy
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
from tasks.workers import spread
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

    rows = sampling.n * len(prompts)
    job = SampleJob(
        workspace.reference.resolve(),
        workspace.raw_verifiers.resolve(),
        seed,
        trust_remote_code,
        template,
        verifier,
        generation,
        sampler,
        sampling,
        rows,
    )
    gpus = sampler.vllm.tensor_parallel_size if sampler.engine == "vllm" else 1
    samples = run_shards(
        work,
        questions_of(prompts),
        spread(job, executor=sampling.executor, workers=sampling.workers, gpus=gpus),
        shard_size=sampling.shard_prompts,
        schema=SAMPLES,
        name="sample",
        inspect=spending(verifier, rows=rows),
    )
    frame, checks = sample_checks(samples, n=sampling.n, prompts=len(prompts))
    report = workspace.validation("samples")
    validate(frame, checks, table=workspace.samples, row="row", report=report)
    write_table(workspace.samples, samples, SAMPLES, {"fingerprint": conditions, "n": sampling.n})
    return {
        "prompts": len(prompts),
        "responses": len(samples),
        "mean_reward": samples["reward"].mean(),
        "verifier_errors": int(samples["reward"].isna().sum()),
    }


@dataclass(frozen=True)
class SampleJob:
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
    rows: int  # of all workers together

    @contextmanager
    def open(self) -> Iterator[Callable[[list[Question]], pd.DataFrame]]:
        """See `tasks.workers.Job`."""
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

            def shard(questions: list[Question]) -> pd.DataFrame:
                scored = sample_and_score(
                    questions,
                    self.sampling.n,
                    sampler=engine,
                    template=encoder,
                    scorer=scorer,
                    max_new_tokens=self.generation.max_new_tokens,
                    temperature=self.generation.temperature,
                    key=f"sample/{self.seed}",
                )
                return pd.DataFrame(map(_row, scored)).astype({"reward": "float64"})

            yield shard


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
