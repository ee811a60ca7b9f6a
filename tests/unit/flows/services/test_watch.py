"""A server that ends is started again, once, and one that is slow is left as it is."""

import signal
import subprocess
import sys
import time

import pytest

from apo_core.system.loopback import free_port, listening
from flows.services.watch import restarted


def serve(port):
    return subprocess.Popen(
        [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_a_server_that_ends_is_started_again_and_a_slow_one_is_not(capsys):
    port, started = free_port(), []

    def start():
        started.append(serve(port))
        return started[-1]

    first = serve(port)
    wait(lambda: listening(port))
    with restarted(f"http://127.0.0.1:{port}/api", start, lambda process: process.kill()):
        first.send_signal(signal.SIGSTOP)
        time.sleep(2.5)
        assert started == []
        first.kill()
        first.wait()
        wait(lambda: started and listening(port))
        time.sleep(1.5)
        assert len(started) == 1
    assert started[0].wait(timeout=10) != 0
    assert "this run starts it again" in capsys.readouterr().err
