"""Loopback ports for what a run starts beside itself."""

from __future__ import annotations

import socket


def free_port() -> int:
    """A loopback port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
