"""Rows that reasoning-gym generates: endless tasks with answers that its own code can score."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import chdir
from tempfile import TemporaryDirectory
from typing import Any

from apo_core.data.json_files import Row
from apo_core.data.normal_form import normal_hash
from apo_core.data.prompts import Split
from apo_core.errors import ApoError

_DRAWS = 50  # entries generated per row requested, after which the task counts as exhausted
_EVERY = 5  # one question in five is for evaluation


def generated_rows(task: str, split: Split, count: int, seed: int) -> Iterator[Row]:
    """Yield up to `count` different entries of a task, each with its number among all generated entries.

    A question's own hash decides whether it may be a training or an evaluation prompt, so the two splits
    cannot overlap, whatever the seeds.

    Raises:
        ApoError: reasoning-gym is not installed, or has no such task.
    """
    dataset = _dataset(task, f"{split}/{task}/{seed}", _DRAWS * count)
    seen: set[int] = set()
    for number in range(1, _DRAWS * count + 1):
        if len(seen) == count:
            return
        # Some tasks write files into the working directory.
        with TemporaryDirectory() as scratch, chdir(scratch):
            row: dict[str, Any] = dataset[number - 1]
        question = normal_hash(row["question"])
        if question not in seen and (question % _EVERY == 0) == (split == "eval"):
            seen.add(question)
            yield number, row


def _dataset(task: str, name: str, size: int) -> Any:
    try:
        import reasoning_gym
    except ImportError:
        problem = "reasoning-gym is not installed: pip install -e '.[reasoning-gym]' in its checkout"
        raise ApoError(f"reasoning_gym:{task}: {problem}") from None
    if task not in reasoning_gym.factory.DATASETS:
        raise ApoError(f"reasoning_gym:{task}: there is no such task")
    # reasoning-gym seeds an entry with this number plus its position; the hash separates streams of two
    # seeds.
    start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    return reasoning_gym.create_dataset(task, seed=start, size=size)
