"""Wall time of stage 1 where scoring takes as long as sampling: one after the other, and beside each other.

    python -m benchmarks.overlap [--milliseconds 20] [--shards 8] [--threads 1]

Samples with an untrained decoder of the embedded shape and scores with a verifier that waits for so long
per response (for a program under test, say), in `--processes` processes. Prints one line per way.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pandas as pd
import torch

from apo_core.embedded.tiny_decoder import character_tokenizer, tiny_decoder
from apo_core.model.directory import ModelRef
from apo_core.model.loading import save_policy
from apo_core.sampling.scored import Question
from flows.workspaces import load_preset
from tasks.responses.jobs import Job, Sample, Score, make_here
from tasks.responses.sample_jobs import JobSpec, SampleJob

Timed = TypeVar("Timed")
_VERIFIER = """
import time

def score(completion, answer, row):
    time.sleep({seconds})
    return 1.0
"""


@dataclass
class Measured:
    """A job that notes what sampling and scoring take; with `alternating` it scores before it samples on."""

    job: Job[Question]
    alternating: bool
    started: float = 0.0  # once engine and verifier are open
    seconds: dict[str, float] = field(default_factory=lambda: {"sampling": 0.0, "scoring": 0.0})

    @contextmanager
    def open(self, own_cores: int) -> Iterator[Sample[Question]]:
        """See `tasks.responses.jobs.Job`."""
        with self.job.open(own_cores) as sample:
            self.started = time.perf_counter()

            def measured(questions: list[Question]) -> Score:
                score = self._timed("sampling", lambda: sample(questions))
                if not self.alternating:
                    return lambda: self._timed("scoring", score)
                rows = self._timed("scoring", score)
                return lambda: rows

            yield measured

    def _timed(self, step: str, do: Callable[[], Timed]) -> Timed:
        started = time.perf_counter()
        done = do()
        self.seconds[step] += time.perf_counter() - started
        return done


def main() -> None:
    """Print the seconds of both ways."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--milliseconds", type=float, default=20.0, help="of scoring, per response")
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--processes", type=int, default=1, help="of the verifier")
    parser.add_argument("--threads", type=int, default=1, help="of the sampler")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as directory:
        job = _job(Path(directory), arguments.milliseconds / 1000, arguments.processes)
        questions = [Question(f"{a}+{b}=", f"{a}+{b}=", "7", "{}") for a in range(10) for b in range(10)]
        shards = {Path(str(number)): questions[:32] for number in range(arguments.shards)}
        for alternating in (True, False):
            _print(job, shards, alternating)


def _print(job: SampleJob, shards: dict[Path, list[Question]], alternating: bool) -> None:
    measured = Measured(job, alternating)
    kept: list[pd.DataFrame] = []
    make_here(measured, shards, lambda _, rows: kept.append(rows))
    wall = time.perf_counter() - measured.started
    steps = ", ".join(f"{step} {seconds:.1f} s" for step, seconds in measured.seconds.items())
    way = "one after the other" if alternating else "beside each other"
    print(f"{way}: {steps}, wall {wall:.1f} s, {sum(map(len, kept))} responses")


def _job(directory: Path, seconds: float, processes: int) -> SampleJob:
    (directory / "slow.py").write_text(_VERIFIER.format(seconds=seconds))
    params = load_preset("embedded")
    tokenizer = character_tokenizer()
    save_policy(
        tiny_decoder(tokenizer, hidden_size=96, layers=3, heads=3, seed=0), tokenizer, directory / "model"
    )
    model = ModelRef(path=directory / "model", dtype="float32")
    slow = params.verifier[0].model_copy(
        update={"name": "slow:score", "time_limit_seconds": 60.0, "workers": processes}
    )
    spec = JobSpec(
        policy=model,
        tokenizer=model,
        verifiers=directory,
        template=params.template,
        verifier=(slow,),
        generation=params.generation,
        sampler=params.sampler,
        key="overlap",
        batch_size=params.sampling.batch_size,
        max_length=0,
        rows=0,
        shaped=True,
    )
    return SampleJob(spec, range(params.sampling.n))


if __name__ == "__main__":
    main()
