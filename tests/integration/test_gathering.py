"""ZeRO-3: weights are whole a bucket at a time, and what is handed over is what all of them together hold."""

import pytest
import torch
from builders import OPTIMIZER

from apo_core.embedded.tiny_decoder import character_tokenizer, tiny_decoder
from apo_core.model.log_probs import ResponseLogProbs
from apo_core.model.lora import add_adapters
from apo_core.training.engine import start_engine
from apo_core.training.policy_copy import (
    LaggingCopy,
    adapter_weights,
    base_weights,
    computed,
    gathered,
    in_buckets,
    merged_weights,
)

pytestmark = pytest.mark.with_engines
LIMIT = 8_000  # bytes: several buckets


@pytest.fixture(scope="module")
def engine():
    policy = tiny_decoder(character_tokenizer(), hidden_size=32, layers=2, heads=2, seed=0)
    add_adapters(policy, rank=4, alpha=8.0, seed=0)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    log_probs = ResponseLogProbs(policy, temperature=1.0)
    return start_engine(log_probs, **OPTIMIZER, dtype="float32", zero_stage=3)


def whole(policy):
    """Names of the parameters that this rank holds whole."""
    return {name for name, parameter in policy.named_parameters() if parameter.numel()}


@pytest.mark.parametrize("weights_of", [base_weights, merged_weights, adapter_weights])
def test_each_bucket_is_what_the_whole_policy_holds(engine, weights_of):
    policy = engine.module.model
    with gathered(engine):
        expected = {weight.name: weight.compute().clone() for weight in weights_of(policy)}
    assert len(in_buckets(weights_of(policy), LIMIT)) > 2
    before, most, seen = whole(policy), 0, {}
    for bucket in computed(engine, weights_of(policy), LIMIT):
        most = max(most, len(whole(policy) - before))
        for weight, tensor in bucket:
            assert weight.shape == tensor.shape
            seen[weight.name] = tensor.clone()
    assert whole(policy) == before
    assert most < sum(len(weight.sources) for weight in weights_of(policy)) / 2
    assert seen.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(seen[name], tensor), name


def test_a_lagging_copy_takes_over_merged_weights(engine):
    plain = tiny_decoder(character_tokenizer(), hidden_size=32, layers=2, heads=2, seed=1)
    lagging = LaggingCopy(engine, plain, temperature=1.0)
    lagging.synchronise()
    with gathered(engine):
        expected = {weight.name: weight.compute() for weight in merged_weights(engine.module.model)}
        for name, tensor in lagging.model.state_dict().items():
            assert torch.equal(tensor, expected[name]), name


def test_a_lagging_copy_of_another_architecture_is_an_error(engine):
    other = tiny_decoder(character_tokenizer(), hidden_size=32, layers=1, heads=2, seed=1)
    with pytest.raises(RuntimeError, match=r"another architecture: no model\.layers\.1\."):
        LaggingCopy(engine, other, temperature=1.0).synchronise()
