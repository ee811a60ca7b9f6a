"""Where shards are made: in this process, in several of this machine, or by actors of a Ray cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from apo_core import config
from tasks.responses.jobs import Item, Job, Keep, Shards, make_here
from tasks.responses.local_workers import count_gpus, make_on_processes
from tasks.responses.ray_workers import make_on_ray


@dataclass(frozen=True, kw_only=True)
class Workers:
    """How many workers make shards, and where; the rows of a shard do not depend on it."""

    executor: str
    """`local` for this machine, `ray` for the cluster of RAY_ADDRESS, or one started for this."""
    number: int | None
    """None: as many as the GPUs suffice for; one where there is none."""
    gpus: int
    """GPUs per worker, where there are any."""

    @classmethod
    def of(cls, sampling: config.Sampling, sampler: config.Sampler) -> Self:
        """The workers of a configuration."""
        return cls(
            executor=sampling.executor,
            number=sampling.workers,
            gpus=sampler.vllm.tensor_parallel_size if sampler.engine == "vllm" else 1,
        )

    def make(self, job: Job[Item], shards: Shards[Item], keep: Keep) -> None:
        """Make shards, each worker with its own engine; a worker that is lost is replaced.

        Args:
            job: the work.
            shards: what is missing; where nothing is, no engine is opened.
            keep: is given the shards that are made.

        Raises:
            ApoError: a job refused its input, the workers do not fit, or they keep dying.
        """
        if not shards:
            return
        if self.executor == "ray":
            make_on_ray(job, shards, keep, workers=self.number, gpus=self.gpus)
            return
        number = self.number or count_gpus() // self.gpus or 1
        if number > 1:
            make_on_processes(job, shards, keep, workers=number, gpus=self.gpus)
        else:
            make_here(job, shards, keep)
