"""Memory in which a trainer lays weights for the engine beside it: of the host, or of the GPU they share."""

from __future__ import annotations

import errno
import os
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any, Protocol

import torch
from torch import Tensor


class WeightBuffer(Protocol):
    """Memory that another process can read."""

    tensor: Tensor  # (size,) uint8

    def handle(self) -> dict[str, Any]:
        """What an update says of the memory, beside what lies in it, once that has been written."""
        ...

    def close(self) -> None:
        """Give the memory back; what has mapped it keeps it."""
        ...


class HostBuffer:
    """Memory of the host that is in no file system: one descriptor, however many weights there are.

    Not in /dev/shm, of which a container has 64 MiB unless told otherwise, and where a page that there is no
    room for ends the process that writes it.
    """

    def __init__(self, size: int) -> None:
        """Reserve `size` bytes.

        Raises:
            OSError: there are no descriptors left.
        """
        self.descriptor = os.memfd_create("weights")
        os.ftruncate(self.descriptor, size)
        self.tensor = _mapped(self.descriptor, size)

    def send(self, connection: Connection, process_id: int) -> None:
        """Let another process map it with `receive_buffer`."""
        send_handle(connection, self.descriptor, process_id)

    def handle(self) -> dict[str, Any]:
        """Nothing: the other process has mapped it."""
        return {}

    def close(self) -> None:
        """See `WeightBuffer`."""
        os.close(self.descriptor)
        del self.tensor


def receive_buffer(connection: Connection, size: int) -> Tensor:
    """Map what `HostBuffer.send` sends: (size,) uint8.

    Raises:
        OSError: there is no descriptor left.
    """
    try:
        descriptor = recv_handle(connection)
    except RuntimeError as error:  # Python's, where the kernel has left the descriptor out
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE)) from error
    try:
        return _mapped(descriptor, size)
    finally:
        os.close(descriptor)


def _mapped(descriptor: int, size: int) -> Tensor:
    # Python's own mmap would hold a second descriptor.
    return torch.from_file(f"/proc/self/fd/{descriptor}", shared=True, size=size, dtype=torch.uint8)


class GpuBuffer:
    """Memory of a GPU, by a handle that goes by the GPU's own name: processes number GPUs differently.

    The form of the handle is that of vLLM 0.32, `packed_ipc_producer` in
    vllm/distributed/weight_transfer/packed_tensor.py:263: one export, for all buckets of a transfer.
    """

    def __init__(self, size: int, gpu: int) -> None:
        """Reserve `size` bytes of a GPU, as this process numbers it."""
        from torch.multiprocessing.reductions import reduce_tensor

        self.tensor = torch.empty(size, dtype=torch.uint8, device=f"cuda:{gpu}")
        _, rebuild_arguments = reduce_tensor(self.tensor)
        self._handles = {str(torch.cuda.get_device_properties(gpu).uuid): rebuild_arguments}

    def handle(self) -> dict[str, Any]:
        """See `WeightBuffer`."""
        torch.cuda.current_stream(self.tensor.device).synchronize()  # copies that are still queued
        return {"ipc_handles": self._handles}

    def close(self) -> None:
        """See `WeightBuffer`. The engine has let go of it: the memory is free for its own."""
        del self.tensor
        torch.cuda.ipc_collect()
        torch.cuda.empty_cache()
