"""How good a training's checkpoints are on the held-out prompts, as stage `evaluate` asks them.

    python -m benchmarks.comparison.accuracy WORKSPACE [--reference] [--samples N]

A process of its own, so that it is no part of the memory and time of what it measures. Its last line is JSON:
of each checkpoint the step, the mean rewards of sampled and greedy responses, and the KL to the reference.
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
from apo_core.model.loading import load_policy, save_policy
from apo_core.training.checkpoint import Checkpoints, Saved, data_only
from benchmarks.processes import run_module
from tasks.prompts.inputs import questions_of, read_split
from tasks.prompts.template import encoder_of
from tasks.responses.evaluator import Asking
from tasks.responses.scoring import scorer_of, spending
from tasks.workspace import Workspace

_WEIGHTS = "engine/mp_rank_00_model_states.pt"
_BEFORE_MODEL = ("policy.", "")  # what stands before `model.` in an engine with a critic, and without


def main() -> None:
    """Print the accuracies."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--reference", action="store_true", help="instead of the checkpoints")
    parser.add_argument(
        "--samples", type=int, default=2, help="a prompt; of the last checkpoint all the configured"
    )
    arguments = parser.parse_args()
    workspace = Workspace(arguments.workspace)
    saved = Checkpoints(workspace.work("train") / "checkpoints", keep=1, min_free_mib=0).all()
    if arguments.reference:
        found = [{"step": 0} | ask(workspace, workspace.reference, None)]
    else:
        found = [measure(workspace, one, None if one is saved[-1] else arguments.samples) for one in saved]
    print(json.dumps(found))


def accuracies(workspace: Workspace, *flags: str, threads: int) -> list[dict[str, Any]]:
    """What a process of this module prints.

    Args:
        workspace: of a training.
        flags: of the command line.
        threads: that it computes with.

    Raises:
        ProcessFailed: it ended with an error.
    """
    found: list[dict[str, Any]] = run_module(__name__, str(workspace.root), *flags, threads=threads)
    return found


def measure(workspace: Workspace, checkpoint: Saved, samples: int | None) -> dict[str, Any]:
    """The accuracy of a checkpoint's policy."""
    params = load_params(workspace.params)
    model = load_policy(
        workspace.reference, dtype=params.train.dtype, trust_remote_code=params.trust_remote_code
    )
    model.load_state_dict(weights_of(checkpoint.directory / _WEIGHTS))
    encoder = encoder_of(workspace.reference, params.template, params.trust_remote_code)
    with tempfile.TemporaryDirectory() as directory:
        policy = Path(directory) / "policy"
        save_policy(model, encoder.tokenizer, policy)
        return {"step": checkpoint.step} | ask(workspace, policy, samples)


def weights_of(file: Path) -> dict[str, torch.Tensor]:
    """The policy's weights in what DeepSpeed has written, by their names in a plain model.

    Raises:
        ApoError: they are not in there as a whole.
    """
    with data_only():
        module = torch.load(file)["module"]
    for before in _BEFORE_MODEL:
        prefix = f"{before}model."
        found = {
            name.removeprefix(prefix): tensor for name, tensor in module.items() if name.startswith(prefix)
        }
        if found:
            return found
    raise ApoError(f"{file}: holds no whole policy; algorithms are compared on one rank, without adapters")


def ask(workspace: Workspace, policy: Path, samples: int | None) -> dict[str, Any]:
    """Mean rewards and KL of a policy's directory; `samples` a prompt, None for as many as are configured."""
    params = load_params(workspace.params)
    prompts = read_split(workspace, "eval")
    evaluation = params.evaluation.model_copy(update={"samples": samples} if samples else {})
    rows = len(prompts) * (evaluation.samples + 1)
    asking = Asking(
        params.seed, params.trust_remote_code, params.verifier, params.generation, params.sampler, evaluation
    )
    with (
        tempfile.TemporaryDirectory() as work,
        scorer_of(params.verifier, workspace.raw_verifiers, rows=rows) as scorer,
    ):
        table = asking.ask(
            questions_of(prompts),
            Path(work),
            name="comparison",
            policy="policy",
            directory=policy,
            encoder=encoder_of(workspace.reference, params.template, params.trust_remote_code),
            scorer=scorer,
            inspect=spending(params.verifier, rows=rows),
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
