"""Loopback: the address that servers of this machine listen at, and their ports."""

from __future__ import annotations

import random
import socket
from itertools import islice

from apo_core.errors import ApoError

HOST = "127.0.0.1"
# Outgoing connections get ports above them, and above those 10,000 higher, which some servers take too.
_LASTING = range(12000, 22000)


def check_loopback() -> None:
    """Refuse a machine, or a container, that cannot reach itself: every local server would be waited for.

    Raises:
        ApoError: says what to do.
    """
    with socket.socket() as server:
        try:
            server.bind((HOST, 0))
            server.listen()
            socket.create_connection(server.getsockname(), timeout=5).close()
        except OSError as error:
            raise ApoError(
                f"{HOST}: this machine cannot reach itself ({error}); is its network interface `lo` up?"
            ) from None


def listening(port: int) -> bool:
    """Whether something accepts connections on a loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def free_port() -> int:
    """Find a loopback port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def lasting_ports(count: int) -> list[int]:
    """Find free loopback ports for servers that are restarted on them.

    No connection of another program can take one in the meantime, as it may that of `free_port`.
    """
    candidates = random.SystemRandom().sample(_LASTING, len(_LASTING))
    return list(islice(filter(is_free, candidates), count))


def is_free(port: int) -> bool:
    """Whether a server can be started on a loopback port."""
    with socket.socket() as listener:
        # As servers do: the connections of the last one on this port linger for a minute.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError:
            return False
        return True
