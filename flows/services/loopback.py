"""The address that servers of this machine listen at."""

from __future__ import annotations

import socket

HOST = "127.0.0.1"


def listening(port: int) -> bool:
    """Whether something accepts connections on a loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
