"""An audit log on S3, or on a server that keeps its conditions: `If-None-Match: *` makes an object once."""

from __future__ import annotations

import time
from urllib.parse import quote

from botocore.exceptions import ClientError

from tasks.dvc import StageFailed
from tasks.s3_client import bucket_and_key, connect, list_objects, understood

_TAKEN = {"PreconditionFailed", "412"}
_BUSY = {"ConditionalRequestConflict", "409"}  # somebody is writing it now: who has won is not known yet
_PAUSE, _TRIES = 0.2, 50  # seconds


class S3Store:
    """See `tasks.audit_store.AuditStore`."""

    def __init__(self, address: str) -> None:
        """Take `s3://bucket/prefix`.

        Raises:
            ApoError: the address has another form.
        """
        self.address = address.rstrip("/")
        self._bucket, self._prefix = bucket_and_key(self.address)
        self._client = connect(self.address)

    def names(self, model: str) -> list[str]:
        """See `AuditStore`."""
        start = self._key(model, "")
        with understood(self.address):
            keys = [found.key for found in list_objects(self._client, self._bucket, start)]
        return sorted(key.removeprefix(start) for key in keys if key.endswith(".json"))

    def read(self, model: str, name: str) -> str:
        """See `AuditStore`."""
        with understood(self.address):
            body: bytes = self._client.get_object(Bucket=self._bucket, Key=self._key(model, name))[
                "Body"
            ].read()
        return body.decode()

    def create(self, model: str, name: str, text: str) -> bool:
        """See `AuditStore`."""
        key = self._key(model, name)
        with understood(self.address):
            for _ in range(_TRIES):
                try:
                    self._client.put_object(Bucket=self._bucket, Key=key, Body=text.encode(), IfNoneMatch="*")
                except ClientError as error:
                    code = error.response["Error"].get("Code")
                    if code in _BUSY:
                        time.sleep(_PAUSE)
                        continue
                    if code not in _TAKEN:
                        raise
                    # A first try may have arrived whose answer was lost: then it is ours.
                    return self.read(model, name) == text
                return True
        raise StageFailed(f"{self.address}: {key} is being written all the time")

    def _key(self, model: str, name: str) -> str:
        return f"{self._prefix}/{quote(model, safe=' ')}/{name}"
