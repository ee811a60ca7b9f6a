"""The address that servers of this machine listen at."""

from __future__ import annotations

import socket

from apo_core.errors import ApoError

HOST = "127.0.0.1"


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
