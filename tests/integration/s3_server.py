"""A real S3 server on loopback, with every port and directory of its own."""

import os
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from apo_core.processes import set_parent_death_signal

BUCKET = "apo"
# Where these are not given they are fixed, and two servers get in each other's way.
PORTS = [
    f"{part}.port{kind}" for part in ("master", "volume", "filer", "s3", "admin") for kind in ("", ".grpc")
]
LOCAL = [
    *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-webdav=false", "-admin.ui=false"),
    *("-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"),
    "-s3.autoCreateBucket=false",  # a bucket that is missing is missing, as elsewhere
]


def settings(port: int) -> dict[str, str]:
    """What its clients have in their environment, and it in its own."""
    return {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def free_ports(count: int) -> list[int]:
    """Loopback ports that nothing listens on, all of them different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def running(directory: Path, weed: Path, s3_port: int | None = None):
    """The settings of a server that answers and has the bucket, until the block ends."""
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True)) | ({"s3.port": s3_port} if s3_port else {})
    environment = settings(ports["s3.port"])
    command = [str(weed), "mini", f"-dir={directory}", *(f"-{name}={port}" for name, port in ports.items())]
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, *LOCAL],
            env=os.environ | environment,
            stdout=log,
            stderr=log,
            preexec_fn=set_parent_death_signal,
        )
        try:
            _wait(process, environment, directory / "log")
            yield environment
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait(process: subprocess.Popen, environment: dict[str, str], log: Path) -> None:
    """Until an object can be written and read: ports are open long before."""
    client = boto3.Session().client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_DEFAULT_REGION"],
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=5),
    )
    deadline = time.monotonic() + 60
    while True:
        try:
            if BUCKET not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
                client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key="ready", Body=b"yes")
            assert client.get_object(Bucket=BUCKET, Key="ready")["Body"].read() == b"yes"
            client.delete_object(Bucket=BUCKET, Key="ready")
            return
        except (BotoCoreError, ClientError) as error:
            text = f"{error}\n{log.read_text()[-4000:]}"
            assert process.poll() is None, text
            assert time.monotonic() < deadline, text
            time.sleep(0.1)
