"""Stage `sample` on several workers: the table equals one worker's, even after a worker is killed."""

import os
import shutil
import subprocess
import time

import psutil
import pytest
from builders import BIN, clean_env

pytestmark = pytest.mark.long


# On loopback, whatever token an earlier cluster has left in the home directory.
OPEN = {"RAY_AUTH_MODE": "disabled"}


@pytest.fixture
def unsampled(workspace):
    """The workspace without shards and without DVC's cache, from which DVC would take the finished table."""
    shutil.rmtree(workspace / "data/unfinished")
    shutil.rmtree(workspace / ".dvc/cache")
    return workspace


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The address of two Ray nodes on loopback."""
    pytest.importorskip("ray", reason="Ray is not installed (apo-flow[ray])")
    env = clean_env() | OPEN | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1"}
    start = [str(BIN / "ray"), "start", "--num-cpus=1", "--disable-usage-stats"]
    head = [*start, "--head", "--node-ip-address=127.0.0.1", "--port=6399", "--include-dashboard=false"]
    try:
        for command in (head, [*start, "--address=127.0.0.1:6399"]):
            subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)
        yield "127.0.0.1:6399"
    finally:
        subprocess.run([str(BIN / "ray"), "stop", "--force"], env=env, check=False, stdout=subprocess.DEVNULL)


@pytest.mark.production
def test_a_ray_worker_is_killed_and_the_table_is_complete_and_equal(unsampled, cluster):
    before = (unsampled / "data/samples.parquet").read_bytes()
    small = "--set sampling.executor=ray --set sampling.workers=2"
    stage = subprocess.Popen(
        ["bash", "-c", f"apo stage sample --force {small}"],
        cwd=unsampled,
        env=clean_env() | OPEN | {"RAY_ADDRESS": cluster},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    shards = unsampled / "data/unfinished/sample"
    while not list(shards.glob("sample-*.parquet")):
        assert stage.poll() is None, stage.communicate()[0]
        time.sleep(0.01)
    workers = [process for process in psutil.process_iter(["cmdline"]) if _is_actor(process)]
    assert len(workers) == 2
    os.kill(workers[0].pid, 9)
    output, _ = stage.communicate(timeout=300)
    assert stage.returncode == 0, output[-4000:]
    assert (unsampled / "data/samples.parquet").read_bytes() == before


def _is_actor(process):
    title = " ".join(process.info["cmdline"] or [])
    return title.startswith("ray::") and "_Actor" in title
