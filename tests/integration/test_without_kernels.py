"""Sampling and training without the folder `apo_core/kernels`: the same results within rounding."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from builders import clean_env

ROOT = Path(__file__).parents[2]
SAMPLE_AND_STEP = """
import json, sys
from importlib.util import find_spec
from pathlib import Path
import torch
import apo_core
from apo_core.embedded.tiny_decoder import character_tokenizer, tiny_decoder
from apo_core.model.acceleration import packs_weights
from apo_core.model.loading import load_policy, save_policy
from apo_core.model.directory import ModelRef
from apo_core.model.log_probs import ResponseLogProbs
from apo_core.model.micro_batch import pad_responses
from apo_core.sampling import TransformersSampler
from apo_core.training.engine import start_engine

directory, tokenizer = Path(sys.argv[1]), character_tokenizer()
if not directory.exists():
    # Its layers are large enough for the kernels.
    model = tiny_decoder(tokenizer, hidden_size=256, layers=2, heads=2, seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3 if parameter.dim() == 2 else 1)  # or tokens would hardly depend on the prompt
    save_policy(model, tokenizer, directory)
policy = load_policy(ModelRef(path=directory, dtype="float32"))
prompts = [[3, 4, 5], [3, 4, 5], [6, 7, 8, 9, 10]]
sampler = TransformersSampler(policy, eos_ids={1}, pad_id=0, batch_size=3)
sampled = sampler.generate(prompts, ["a", "b", "c"], max_new_tokens=16, temperature=1.0)
responses = [response.token_ids for response in sampled]
engine = start_engine(
    ResponseLogProbs(policy, temperature=1.0), learning_rate=1e-3, adam_betas=(0.9, 0.999), weight_decay=0.0,
    max_grad_norm=1.0, dtype="float32", zero_stage=0,
)
log_probs = engine(*pad_responses(prompts, responses, pad_id=0).inputs)
engine.backward((log_probs.sum(-1) + 1.0).square().mean())
engine.step()
print(json.dumps({
    "file": apo_core.__file__,
    "kernels": find_spec("apo_core.kernels") is not None,
    "accelerated": hasattr(policy, "decoding_kernels"),
    "packed": packs_weights(torch.float32, "cpu"),
    "responses": responses,
    "log_probs": log_probs.sum(-1).tolist(),
    "weights": [float(parameter.abs().sum()) for parameter in policy.parameters()],
}))
"""


def answers(package: Path, model: Path) -> dict:
    """The results of sampling and a training step with the package in this directory."""
    env = clean_env() | {"PYTHONPATH": str(package), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SAMPLE_AND_STEP, str(model)],
        env=env,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert Path(outcome.pop("file")).is_relative_to(package)
    return outcome


@pytest.mark.production
def test_a_sample_and_a_training_step_are_the_same_without_kernels(tmp_path):
    plain = tmp_path / "plain"
    shutil.copytree(
        ROOT / "apo_core", plain / "apo_core", ignore=shutil.ignore_patterns("kernels", "__pycache__")
    )
    fast, slow = answers(ROOT, tmp_path / "model"), answers(plain, tmp_path / "model")
    assert (fast.pop("kernels"), fast.pop("accelerated")) == (True, True)
    assert (slow.pop("kernels"), slow.pop("accelerated"), slow.pop("packed")) == (False, False, False)
    assert max(map(len, slow["responses"])) > 1
    assert fast["responses"] == slow["responses"]
    for name in ("log_probs", "weights"):
        assert fast[name] == pytest.approx(slow[name], rel=1e-4), name
