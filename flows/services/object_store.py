"""SeaweedFS: all of an S3 server in one process."""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path

import psutil

from apo_core.errors import ApoError
from apo_core.system.loopback import HOST
from flows.services.paths import BUCKETS, ServicePaths
from flows.services.processes import Launch, processes_tagged

INSTALL = "pip install -e '.[services]' in its checkout"
# Its ports and the options that set them: S3's and those of its inner servers, each also with one for gRPC.
# That of `admin` has to be 10,000 above: its client looks nowhere else.
_INNER = ("s3", "master", "volume", "filer")
_PORTS = {f"{server}{kind}": f"-{server}.port{kind}" for server in _INNER for kind in ("", ".grpc")}
_PORTS["admin"] = "-admin.port"


class ObjectStore:
    """See `flows.services.service.Service`."""

    name = "s3"
    title = "SeaweedFS"
    ports: tuple[str, ...] = tuple(_PORTS)
    needs: tuple[str, ...] = ()
    stop_signal: signal.Signals = signal.SIGTERM

    def prepare(self, paths: ServicePaths) -> Launch:
        """Make its directory."""
        home = paths.home(self.name)
        home.mkdir(mode=0o700, exist_ok=True)
        numbers = [f"{option}={paths.ports[name]}" for name, option in _PORTS.items()]
        return Launch(
            command=[
                *(program(), "mini", f"-dir={home}", f"-ip={HOST}", f"-ip.bind={HOST}", *numbers),
                *("-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0"),
                *(
                    "-master.telemetry=false",
                    "-s3.autoCreateBucket=false",
                    "-volume.preStopSeconds=0",
                    f"-bucket={','.join(BUCKETS)}",
                ),
            ],
            directory=home,
            env=paths.s3_variables,
        )

    def answers(self, paths: ServicePaths) -> bool:
        """Whether every bucket is there."""
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        once = Config(connect_timeout=5, read_timeout=5, retries={"total_max_attempts": 1}, proxies={})
        client = boto3.client(
            "s3",
            endpoint_url=paths.url("s3"),
            region_name=paths.s3_variables["AWS_DEFAULT_REGION"],
            aws_access_key_id=paths.s3_variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=paths.passwords["s3"],
            config=once,
        )
        try:
            buckets = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
        except (BotoCoreError, ClientError):
            return False
        return buckets >= set(BUCKETS)

    def bootstrap(self, paths: ServicePaths) -> None:
        """Nothing to make: the server makes its buckets itself."""

    def orphans(self, paths: ServicePaths) -> list[psutil.Process]:
        """The server itself, where it was started and not recorded."""
        return processes_tagged(paths.process_tag(self.name))


def program() -> str:
    """SeaweedFS's program: in this environment, or on the path.

    Raises:
        ApoError: nowhere.
    """
    beside = Path(sys.executable).with_name("weed")
    weed = str(beside) if beside.exists() else shutil.which("weed")
    if not weed:
        raise ApoError(f"SeaweedFS is not installed: {INSTALL}")
    return weed
