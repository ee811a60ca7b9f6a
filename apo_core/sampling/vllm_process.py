"""A vLLM engine in a separate process, so that it does not join the process groups of training."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Self

from torch import Tensor, multiprocessing  # torch's sends tensors through shared memory

from apo_core.errors import ApoError
from apo_core.model.directory import ModelRef
from apo_core.sampling.base import Keys, Response
from apo_core.sampling.vllm_sampler import VllmSampler
from apo_core.system.environment import engine_env
from apo_core.system.processes import set_parent_death_signal


class VllmProcess:
    """`VllmSampler`'s methods, carried out by another process that ends with this one."""

    def __init__(self, source: ModelRef, *, gpu: int | None, **engine_arguments: Any) -> None:
        """Start the process and its engine.

        Args:
            source: the model's directory.
            gpu: that the engine may use, as this process numbers them; None where there is none.
            engine_arguments: see `VllmSampler`.

        Raises:
            ApoError: the engine does not start.
        """
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, source, engine_arguments), daemon=True)
        with engine_env(gpu):  # before it imports anything: a look at the GPUs settles which are seen
            self._process.start()
        theirs.close()
        self._answer()

    def generate(
        self, prompts: list[list[int]], keys: Keys, *, max_new_tokens: int, temperature: float
    ) -> list[Response]:
        """See `Sampler`."""
        responses: list[Response] = self._call(
            "generate", prompts, keys, max_new_tokens=max_new_tokens, temperature=temperature
        )
        return responses

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """See `VllmSampler`. The weights are copied to shared memory on the CPU."""
        self._call("load_weights", weights)

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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, method: str, *arguments: Any, **named: Any) -> Any:
        with suppress(OSError):  # it has ended; that there is no answer says so
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


def _serve(connection: Connection, source: ModelRef, engine_arguments: dict[str, Any]) -> None:
    """Open an engine and carry out requests until the other end of the connection is closed."""
    set_parent_death_signal()
    try:
        sampler = VllmSampler(source, **engine_arguments)
    except ApoError as error:
        connection.send((True, str(error)))
        return
    with sampler:
        connection.send((False, None))
        while True:
            try:
                method, arguments, named = connection.recv()
            except EOFError:
                return
            answer = getattr(sampler, method)(*arguments, **named)
            del arguments, named  # weights, perhaps
            connection.send((False, answer))
