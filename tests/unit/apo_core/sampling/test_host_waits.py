"""How often decoding waits for a GPU, counted on a processor: once per token, to read the tokens."""

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import MistralConfig, MistralForCausalLM

from apo_core.model.acceleration import accelerate
from apo_core.sampling import TransformersSampler, decoding

# Reading a tensor on the host, by Python's names; `bool(tensor)` and `int(tensor)` show as operations.
READS = {"tolist", "item", "cpu", "numpy", "__array__"}
# Operations whose result, or its shape, depends on numbers on the device.
WAITS = {
    "_local_scalar_dense",
    "is_nonzero",
    "nonzero",
    "masked_select",
    "equal",
    "unique",
    "unique2",
    "repeat_interleave",
}


class Reads(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if getattr(func, "__name__", "") in READS:
            self.seen.append(func.__name__)
        return func(*args, **(kwargs or {}))


class Waits(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in WAITS or (name.startswith("index") and self.by_mask(args)):
            self.seen.append(name)
        return func(*args, **(kwargs or {}))

    @staticmethod
    def by_mask(args):
        """Whether rows are selected by True and False: how many is only known on the device."""
        indices = args[1] if len(args) > 1 and isinstance(args[1], list | tuple) else []
        return any(isinstance(index, torch.Tensor) and index.dtype == torch.bool for index in indices)


@pytest.fixture(scope="module")
def model():
    """A model that transformers runs, with the cache and the attention of the project, as on a GPU."""
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=17,
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=2,
        sliding_window=None,
        bos_token_id=None,
        eos_token_id=1,
    )
    model = MistralForCausalLM(config).eval()
    accelerate(model)
    return model


@pytest.mark.parametrize("keys", [None, [f"wait/{row}" for row in range(6)]], ids=["greedy", "sampled"])
@pytest.mark.parametrize("lengths", [[4] * 6, [4, 2, 6, 6, 3, 1]], ids=["one length", "padded"])
def test_the_host_waits_once_per_token(model, lengths, keys, monkeypatch):
    steps, compacted = [], []
    append, compact_rows = decoding._append, decoding._compact_rows
    monkeypatch.setattr(decoding, "_append", lambda *inputs: steps.append(inputs) or append(*inputs))
    monkeypatch.setattr(
        decoding, "_compact_rows", lambda alive: compacted.append(alive) or compact_rows(alive)
    )
    sampler = TransformersSampler(model, eos_ids={1, 5, 9}, pad_id=0, batch_size=6)
    prompts = [[2 + (4 * row + at) % 15 for at in range(length)] for row, length in enumerate(lengths)]
    with Reads() as reads, Waits() as waits:
        responses = sampler.generate(prompts, keys, max_new_tokens=24, temperature=1.0)
    assert len(steps) == max(len(response.token_ids) for response in responses) > 3
    assert keys is None or len(compacted) > 1  # rows leave at different times
    assert reads.seen == ["tolist"] * len(steps)
    # transformers looks for padding once per batch, when it reads the prompts. Which rows of the cache move
    # is found out on the host, from indices that are there.
    looks = ["_local_scalar_dense"] * 2 if len(set(lengths)) > 1 else []
    assert waits.seen == looks + ["nonzero"] * len(compacted)
