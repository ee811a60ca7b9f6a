"""Memory and seconds of one algorithm's training step with a model of 135 million parameters.

    python -m benchmarks.comparison.at_size --set algorithm=NAME [--set key=value ...]

Random weights, prompts and rewards (`benchmarks/workload.py`), float32, 8 prompts per step, one response
per micro-batch (REBEL: one pair). With the embedded task's tiny model the libraries' memory would outweigh
everything else.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path

from apo_core.algorithms import make_algorithm
from apo_core.config import Params
from apo_core.config.file import load_params, set_params
from apo_core.model.directory import ModelRef
from apo_core.model.loading import save_policy
from apo_core.model.template import Template
from apo_core.sampling import TransformersSampler
from apo_core.training.context import TrainingContext
from apo_core.training.in_place_sampler import InPlaceSampler
from apo_core.verifiers import ErrorBudget, InProcess
from benchmarks import workload
from benchmarks.comparison.workspaces import PRESET
from benchmarks.ours import Chance, seconds_per_prompt, training_set
from tasks.stages.training_setup import make_learner
from tasks.workspace import Workspace

SHAPE = "135m"


def main() -> None:
    """Measure a few steps and print one line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--set", action="append", required=True, metavar="key=value")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        workspace = Workspace(Path(directory))
        params = _write(workspace, arguments.set)
        context = _context(workspace, params)
        seconds = seconds_per_prompt(context)
    measurement = {
        "responses": context.algorithm.responses,
        "seconds_per_prompt": seconds,
        "peak_rss_mib": workload.peak_rss_mib(),
    }
    print(json.dumps(measurement))


def _write(workspace: Workspace, overrides: list[str]) -> Params:
    shutil.copyfile(PRESET, workspace.params)
    rows = f"train.micro_batch_tokens={workload.PROMPT_TOKENS + workload.NEW_TOKENS}"
    set_params(workspace.params, [f"train.learning_rate={workload.LEARNING_RATE}", rows, *overrides])
    tokenizer = workload.number_tokenizer(workload.SHAPES[SHAPE]["vocab_size"])
    save_policy(workload.random_model(SHAPE, "float32"), tokenizer, workspace.reference)
    return load_params(workspace.params)


def _context(workspace: Workspace, params: Params) -> TrainingContext:
    algorithm = make_algorithm(**params.algorithm.model_dump())
    source = ModelRef(path=workspace.reference, dtype=params.train.dtype)
    learner = make_learner(source, params.generation, algorithm, params.train, params.seed)
    sampling_model = learner.policy if learner.lagging is None else learner.lagging.model
    sampler = TransformersSampler(sampling_model, eos_ids={-1}, pad_id=0, batch_size=workload.PROMPTS)
    tokenizer = workload.number_tokenizer(workload.SHAPES[SHAPE]["vocab_size"])
    return TrainingContext(
        engine=learner.engine,
        algorithm=algorithm,
        reference=learner.reference,
        adapters=None,
        sampler=sampler if learner.lagging is not None else InPlaceSampler(learner.engine, sampler),
        template=Template(tokenizer, style="raw", text="{prompt}", system=None),
        scorer=InProcess(Chance()),
        errors=ErrorBudget(0.0, rows=workload.PROMPTS),
        prompts=training_set(SHAPE, [0.5] * workload.PROMPTS),
        max_new_tokens=workload.NEW_TOKENS,
        temperature=1.0,
        micro_batch_tokens=params.train.micro_batch_tokens,
        pad_id=0,
        seed=params.seed,
        lagging=learner.lagging,
    )


if __name__ == "__main__":
    main()
