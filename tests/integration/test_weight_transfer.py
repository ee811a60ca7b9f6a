"""Weights on their way to vLLM: many of them, few descriptors; adapters in bfloat16."""

import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
from builders import clean_env
from test_vllm_training import decoder, engine_of, learn, synchronised

from apo_core.embedded.tiny_decoder import character_tokenizer
from apo_core.model.lora import add_adapters
from apo_core.training.canary import policy_log_probs
from apo_core.training.policy_copy import adapter_weights

pytestmark = [
    pytest.mark.production,
    pytest.mark.skipif(
        find_spec("vllm") is None, reason="vLLM is not installed; `make vllm` installs its CPU build"
    ),
]

MANY = """
import os, sys
from pathlib import Path
from apo_core.embedded.tiny_decoder import character_tokenizer, tiny_decoder
from test_vllm_training import by_transformers, engine_of, greedy, synchronised

if __name__ == "__main__":  # the engine's process imports this file, too
    tokenizer = character_tokenizer()
    shape, policy = (
        tiny_decoder(tokenizer, hidden_size=64, layers=67, heads=2, seed=seed).eval() for seed in (0, 1)
    )
    with engine_of(Path(sys.argv[1]), shape, tokenizer, lora_rank=None) as vllm:
        sampler = synchronised(tokenizer, vllm, policy)
        sampler.transfer.bucket_bytes = 2**20  # many buckets, too
        calls = []
        hand_over = vllm.load_weights
        vllm.load_weights = lambda update: calls.append(update["names"]) or hand_over(update)
        before = len(os.listdir("/proc/self/fd"))
        assert greedy(sampler, tokenizer) == by_transformers(policy, tokenizer)
        after = len(os.listdir("/proc/self/fd"))
        print(sum(map(len, calls)), "weights in", len(calls), "buckets,", after - before, "descriptors")
"""


def test_six_hundred_weights_arrive_where_256_descriptors_are_all_there_are(tmp_path):
    script = tmp_path / "many.py"
    script.write_text(MANY)
    done = subprocess.run(
        ["bash", "-c", f"ulimit -n 256; exec {sys.executable} {script} {tmp_path / 'model'}"],
        env=clean_env() | {"PYTHONPATH": ":".join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    # 67 layers of nine weights, two embeddings and the last norm.
    assert done.stdout.splitlines()[-1:] == ["606 weights in 18 buckets, 1 descriptors"], done.stderr


def test_adapters_in_bfloat16_move_vllm_as_they_move_the_policy(tmp_path):
    tokenizer = character_tokenizer()
    policy = decoder(tokenizer, seed=2).to(torch.bfloat16)
    add_adapters(policy, rank=4, alpha=4.0, seed=0)
    text = tokenizer.encode("12+34-5=7#" * 20)
    with engine_of(tmp_path / "model", policy, tokenizer, dtype="bfloat16") as vllm:
        sampler = synchronised(tokenizer, vllm, policy, dtype="bfloat16")
        sampler.synchronise()
        before, expected_before = vllm.log_probs(text), policy_log_probs(policy, text)
        learn(policy, std=0.02)
        sampler.synchronise()
        after, expected = vllm.log_probs(text), policy_log_probs(policy, text)
    assert all(weight.dtype == torch.bfloat16 for weight in adapter_weights(policy))
    step = torch.tensor(expected) - torch.tensor(expected_before)
    seen = torch.tensor(after) - torch.tensor(before)
    assert (torch.tensor(after) - torch.tensor(expected)).abs().mean() < 0.05
    # The update is seen in its size and its direction.
    assert torch.corrcoef(torch.stack([step, seen]))[0, 1] > 0.9
