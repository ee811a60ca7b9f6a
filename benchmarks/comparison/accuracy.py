"""Accuracy of a training's checkpoints on the held-out prompts, measured as in stage `evaluate`.

    python -m benchmarks.comparison.accuracy WORKSPACE [--reference] [--samples N]

Runs in a process of its own, so that it adds nothing to the memory and time of the training. The last line
of output is JSON: for each checkpoint the step, the mean rewards of sampled and greedy responses, and the
KL to the reference policy.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from apo_core.config.file import load_params
from apo_core.errors import ApoError
from apo_core.evaluation.comparison import per_prompt
from apo_core.model.directory import ModelRef
from apo_core.model.loading import load_policy, save_policy
from apo_core.training.checkpoint import Checkpoints, Saved, data_only
from benchmarks.processes import run_module
from tasks.prompts.prompt_template import load_prompt_template
from tasks.prompts.table import read_split, to_questions
from tasks.responses.evaluator import Evaluator
from tasks.responses.scoring import error_budget
from tasks.responses.workers import Workers
from tasks.workspace import Workspace

_WEIGHTS = "engine/mp_rank_00_model_states.pt"
_PREFIXES = ("policy.model.", "model.")  # of the policy's weights, with a critic and without


def main() -> None:
    """Print the accuracies as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument(
        "--reference", action="store_true", help="measure the reference policy instead of the checkpoints"
    )
    parser.add_argument(
        "--samples",
        type=int,
        default=2,
        help="samples per prompt; the last checkpoint gets as many as configured",
    )
    arguments = parser.parse_args()
    workspace = Workspace(arguments.workspace)
    saved = Checkpoints(workspace.work("train") / "checkpoints", keep=1, min_free_mib=0).all()
    if arguments.reference:
        points = [{"step": 0} | evaluate_policy(workspace, workspace.reference, None)]
    else:
        points = [
            evaluate_checkpoint(workspace, checkpoint, None if checkpoint is saved[-1] else arguments.samples)
            for checkpoint in saved
        ]
    print(json.dumps(points))


def accuracies(workspace: Workspace, *flags: str, threads: int) -> list[dict[str, Any]]:
    """Run this module in a process of its own and read the accuracies that it prints.

    Args:
        workspace: Workspace of a training.
        flags: Further command line arguments.
        threads: Number of threads of the process.

    Raises:
        ProcessFailed: The process ended with an error.
    """
    points: list[dict[str, Any]] = run_module(__name__, str(workspace.root), *flags, threads=threads)
    return points


def evaluate_checkpoint(workspace: Workspace, checkpoint: Saved, samples: int | None) -> dict[str, Any]:
    """Accuracy of a checkpoint's policy; for `samples` see `evaluate_policy`."""
    params = load_params(workspace.params)
    reference = ModelRef(
        path=workspace.reference, dtype=params.train.dtype, trust_remote_code=params.trust_remote_code
    )
    model = load_policy(reference)
    model.load_state_dict(weights_of(checkpoint.directory / _WEIGHTS))
    prompt_template = load_prompt_template(reference, params.template)
    with tempfile.TemporaryDirectory() as directory:
        policy = Path(directory) / "policy"
        save_policy(model, prompt_template.tokenizer, policy)
        return {"step": checkpoint.step} | evaluate_policy(workspace, policy, samples)


def weights_of(file: Path) -> dict[str, torch.Tensor]:
    """The policy's weights from a file of DeepSpeed's, by their names in a plain model.

    Raises:
        ApoError: The file does not hold all of the policy's weights.
    """
    with data_only():
        module = torch.load(file)["module"]
    for prefix in _PREFIXES:
        weights = {
            name.removeprefix(prefix): tensor for name, tensor in module.items() if name.startswith(prefix)
        }
        if weights:
            return weights
    raise ApoError(f"{file}: expected the weights of a whole policy (one rank, no adapters), found none")


def evaluate_policy(workspace: Workspace, policy: Path, samples: int | None) -> dict[str, Any]:
    """Mean rewards and KL of a policy's directory, at `samples` per prompt (None: as many as configured)."""
    params = load_params(workspace.params)
    prompts = read_split(workspace, "eval")
    evaluation = params.evaluation.model_copy(update={"samples": samples} if samples else {})
    rows = len(prompts) * (evaluation.samples + 1)
    with tempfile.TemporaryDirectory() as work:
        evaluator = Evaluator(
            questions=to_questions(prompts),
            work=Path(work),
            inspect=error_budget(params.verifier, rows=rows),
            key=f"evaluate/{params.seed}",
            rows=rows,
            trust_remote_code=params.trust_remote_code,
            verifier=params.verifier,
            verifiers=workspace.raw_verifiers,
            generation=params.generation,
            sampler=params.sampler,
            evaluation=evaluation,
            workers=Workers.of(params.sampling, params.sampler),
        )
        table = evaluator.evaluate(
            "policy",
            policy,
            tokenizer=workspace.reference,
            template=params.template,
            greedy=True,
            reference=workspace.reference,
        )
    sampled = table[table["sample_index"] >= 0]
    return {
        "sampled": float(per_prompt(table, "policy").mean()),
        "greedy": float(table.loc[table["sample_index"] < 0, "reward"].mean()),
        "kl": float(sampled["log_ratio"].mean()),
        "prompts": len(prompts),
        "samples": evaluation.samples,
    }


if __name__ == "__main__":
    main()
