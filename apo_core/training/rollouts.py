"""How stage 2 draws from the policy as it is now: by the module that trains, or by vLLM with its weights."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, distributed

from apo_core.errors import ApoError
from apo_core.sampling import Response, Sampler
from apo_core.sampling.vllm_process import VllmProcess
from apo_core.training import ranks
from apo_core.training.gathered import gathered

CANARY_TOKENS = 32
# Nats a token that two engines may round a log-prob apart.
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1}


class InPlace:
    """Draws with the very module that trains: nothing is copied, and nothing can be out of date."""

    def __init__(self, engine: Any, sampler: Sampler) -> None:
        """`sampler` is of the policy inside the DeepSpeed `engine`."""
        self.engine = engine
        self.sampler = sampler

    def generate(
        self, prompts: list[list[int]], keys: list[str] | None, *, max_new_tokens: int, temperature: float
    ) -> list[Response]:
        """See `Sampler`."""
        with gathered(self.engine):
            return self.sampler.generate(
                prompts, keys, max_new_tokens=max_new_tokens, temperature=temperature
            )


class Synchronised:
    """Draws with vLLM, which gets the policy's weights before every batch, and is then put to the test.

    Weights go through shared memory, once a machine. A canary follows them: the log-probs that policy and
    vLLM give to the same few tokens. An engine that has not taken the weights over (some do not, and say
    nothing) would train on another policy's responses.
    """

    def __init__(self, engine: Any, vllm: VllmProcess, canary: list[int]) -> None:
        """Begin with what `vllm` holds: nobody's weights, if the first exchange is to be tested too.

        Args:
            engine: DeepSpeed's, over `ResponseLogProbs`.
            vllm: an engine for the same architecture.
            canary: at least two tokens, the same on every rank.
        """
        self.engine = engine
        self.vllm = vllm
        self.canary = canary[:CANARY_TOKENS]

    def generate(
        self, prompts: list[list[int]], keys: list[str] | None, *, max_new_tokens: int, temperature: float
    ) -> list[Response]:
        """See `Sampler`.

        Raises:
            ApoError: vLLM's log-probs are not the policy's.
        """
        self.synchronise()
        return self.vllm.generate(prompts, keys, max_new_tokens=max_new_tokens, temperature=temperature)

    def synchronise(self) -> None:
        """Give vLLM the policy's weights and compare the two; every rank at the same time."""
        with gathered(self.engine):
            policy = self.engine.module.model
            expected = log_probs(policy, self.canary)
            with _handed_over(policy) as file:
                self.vllm.load_weights(file)
        difference = max(
            abs(mine - theirs)
            for mine, theirs in zip(expected, self.vllm.log_probs(self.canary), strict=True)
        )
        # All ranks stop, or none.
        worst = max(ranks.gather([difference if difference == difference else float("inf")]))
        if worst > _TOLERANCE[policy.dtype]:
            raise ApoError(
                f"train.vllm: the engine's log-probs are {worst:.2g} nats a token from the policy's: it has "
                "not taken the weights over; train without it (train.vllm=null)"
            )


def log_probs(policy: Any, token_ids: list[int]) -> list[float]:
    """What `VllmSampler.log_probs` gives, by the model itself."""
    ids = torch.tensor([token_ids], device=policy.device)  # (1, T)
    with torch.no_grad():
        logits = policy(input_ids=ids, use_cache=False).logits.float()  # (1, T, V)
    chosen = logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])  # (1, T - 1, 1)
    found: list[float] = chosen.flatten().tolist()
    return found


@contextmanager
def _handed_over(policy: Any) -> Iterator[Path]:
    """A file of the policy's weights for the length of the block, written once on every machine."""
    weights = whole_weights(policy) if os.environ.get("LOCAL_RANK", "0") == "0" else None
    with ExitStack() as stack:
        file = None
        if weights is not None:
            place = _place_for(sum(weight.nbytes for weight in weights.values()))
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="apo-weights-", dir=place))
            file = f"{directory}/weights.safetensors"
            save_file(weights, file)
            del weights
        # Ranks of one machine follow each other, the one that wrote first.
        written = ranks.gather([file])[: ranks.rank() + 1]
        yield Path(next(name for name in reversed(written) if name is not None))
        if ranks.world_size() > 1:
            distributed.barrier()  # the others have read it


def _place_for(size: int) -> Path | None:
    """Shared memory where so many bytes fit (containers often have little), else where temporary files go."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and shutil.disk_usage(memory).free > 1.1 * size else None


def whole_weights(policy: Any) -> dict[str, Tensor]:
    """Every weight by its name in a plain model, adapters added to those they lie beside, tied ones once."""
    adapted = {name: module for name, module in policy.named_modules() if hasattr(module, "get_delta_weight")}
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in policy.state_dict().items():
        if ".lora_" in name or tensor.data_ptr() in seen:
            continue
        seen.add(tensor.data_ptr())
        module = adapted.get(name.removesuffix(".base_layer.weight"))
        if module is not None:
            (adapter,) = module.active_adapters
            tensor = (tensor.float() + module.get_delta_weight(adapter).float()).to(tensor.dtype)
        found[name.replace(".base_layer.", ".")] = tensor.contiguous()
    return found
