"""A vLLM engine in a separate process, so that it does not join the process groups of training."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, Self

import torch
from torch import Tensor

from apo_core.errors import ApoError
from apo_core.model.directory import ModelRef
from apo_core.sampling.base import Keys, Response
from apo_core.sampling.vllm_sampler import VllmSampler
from apo_core.sampling.weight_buffer import GpuBuffer, HostBuffer, WeightBuffer, receive_buffer
from apo_core.system.descriptors import raise_descriptor_limit
from apo_core.system.environment import engine_env
from apo_core.system.processes import set_parent_death_signal

_LESS_MEMORY = "give it less with train.sampler.vllm_override.gpu_memory_utilization or kv_cache_gib"


class VllmProcess:
    """`VllmSampler`'s methods, carried out by another process that ends with this one.

    It begins without weights. They go through a buffer that both processes see, a bucket at a time.
    """

    def __init__(
        self, source: ModelRef, *, gpu: int | None, lora_rank: int | None = None, **engine_arguments: Any
    ) -> None:
        """Start the process and its engine.

        Args:
            source: the model's directory.
            gpu: that the engine shares with this process, as this one numbers them; None where there is none.
            lora_rank: of the adapter that comes with each update; None for weights without one.
            engine_arguments: see `VllmSampler`.

        Raises:
            ApoError: the engine does not start.
        """
        raise_descriptor_limit()
        self.gpu = gpu
        self.lora_rank = lora_rank
        self.needs_weights = True
        self._host: HostBuffer | None = None
        self._gpu: GpuBuffer | None = None
        empty_caches(gpu)
        arguments = engine_arguments | {"gpu_shared": gpu is not None, "lora_rank": lora_rank}
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, source, arguments), daemon=True)
        with engine_env(gpu):  # before it imports anything: a look at the GPUs settles which are seen
            self._process.start()
        theirs.close()
        self._answer()
        self.sleep()  # until there are weights

    def generate(
        self, prompts: list[list[int]], keys: Keys, *, max_new_tokens: int, temperature: float
    ) -> list[Response]:
        """See `Sampler`."""
        responses: list[Response] = self._call(
            "generate", prompts, keys, max_new_tokens=max_new_tokens, temperature=temperature
        )
        return responses

    @contextmanager
    def buffer(self, size: int) -> Iterator[Tensor]:
        """Memory for buckets of at most `size` bytes, in the block: (size,) uint8.

        Raises:
            ApoError: there is none to be had, or it cannot be shared.
        """
        if self.gpu is not None:
            self._gpu = GpuBuffer(size, self.gpu)
            try:
                yield self._gpu.tensor
            finally:
                self._gpu.close()
                self._gpu = None
            return
        if self._host is None or len(self._host.tensor) < size:
            self._host = self._shared(size)
        yield self._host.tensor

    def start_weights(self) -> None:
        """See `VllmSampler`."""
        empty_caches(self.gpu)  # what training has left behind is in the way of what wakes up
        self._call("start_weights")

    def load_weights(self, update: dict[str, Any]) -> None:
        """Hand over the bucket of weights that lies in the buffer; see `VllmSampler`."""
        self._call("load_weights", update | self._handle())

    def finish_weights(self) -> None:
        """See `VllmSampler`."""
        self._call("finish_weights")
        self.needs_weights = False

    def load_adapter(self, update: dict[str, Any]) -> None:
        """Hand over the bucket of an adapter's weights that lies in the buffer; see `VllmSampler`."""
        self._call("load_adapter", update | self._handle())

    def finish_adapter(self, rank: int, alpha: float) -> None:
        """See `VllmSampler`."""
        self._call("finish_adapter", rank, alpha)

    def sleep(self) -> None:
        """See `VllmSampler`; where there is a GPU."""
        if self.gpu is not None:
            self._call("sleep")
            self.needs_weights = True

    def log_probs(self, token_ids: list[int]) -> list[float]:
        """See `VllmSampler`."""
        log_probs: list[float] = self._call("log_probs", token_ids)
        return log_probs

    def close(self) -> None:
        """End the process and free its memory."""
        self._connection.close()  # which ends it
        self._process.join(timeout=30)
        self._process.kill()
        self._process.join()
        if self._host is not None:
            self._host.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _shared(self, size: int) -> HostBuffer:
        if self._host is not None:
            self._host.close()
            self._host = None
        with _sending():
            buffer = HostBuffer(size)
            self._connection.send(("map_buffer", (size,), {}))
            buffer.send(self._connection, self._process.pid or 0)
        self._answer()
        return buffer

    def _handle(self) -> dict[str, Any]:
        buffer: WeightBuffer | None = self._gpu or self._host
        return {} if buffer is None else buffer.handle()

    def _call(self, method: str, *arguments: Any, **named: Any) -> Any:
        with _sending():
            self._connection.send((method, arguments, named))
        return self._answer()

    def _answer(self) -> Any:
        try:
            refused, answer = self._connection.recv()
        except (EOFError, OSError):
            self._process.join()
            raise RuntimeError(f"the vLLM process has ended, status {self._process.exitcode}") from None
        if refused:
            raise ApoError(answer)
        return answer


def empty_caches(gpu: int | None) -> None:
    """Give a GPU's memory that torch holds for later back to all who use the GPU."""
    if gpu is not None:
        torch.cuda.empty_cache()


@contextmanager
def _sending() -> Iterator[None]:
    """Make one line of what keeps a message from being sent; that the other end has gone shows by itself."""
    try:
        yield
    except (BrokenPipeError, ConnectionResetError):
        pass  # there will be no answer, which says so
    except OSError as error:
        raise ApoError(f"train.sampler: nothing can be sent to vLLM: {error.strerror or error}") from error


def _serve(connection: Connection, source: ModelRef, engine_arguments: dict[str, Any]) -> None:
    """Open an engine and carry out requests until the other end of the connection is closed."""
    set_parent_death_signal()
    try:
        with VllmSampler(source, with_weights=False, **engine_arguments) as sampler:
            connection.send((False, None))
            while True:
                method, arguments, named = connection.recv()
                if method == "map_buffer":
                    sampler.shared_memory = receive_buffer(connection, *arguments)
                    answer = None
                else:
                    answer = getattr(sampler, method)(*arguments, **named)
                connection.send((False, answer))
    except (EOFError, ConnectionResetError):
        return
    except ApoError as error:
        connection.send((True, str(error)))
    except OSError as error:
        connection.send((True, f"train.sampler: vLLM: {error.strerror or error}"))
    except RuntimeError as error:  # torch's own error, or that of what wakes vLLM's memory
        if "out of memory" not in str(error):
            raise
        connection.send((True, f"vLLM: {str(error).splitlines()[0]}; {_LESS_MEMORY}"))
