"""An audit log on S3, or on a server that keeps its conditions: `If-None-Match: *` makes an object once."""

from __future__ import annotations

import time
from urllib.parse import quote

from botocore.exceptions import ClientError

from apo_core.errors import StageFailed, StageRefused
from tasks.storage.s3_client import bucket_and_key, connect, is_taken, list_objects, understood

_BUSY = {"ConditionalRequestConflict", "409"}  # somebody is writing it now: who has won is not known yet
_PAUSE, _TRIES = 0.2, 50  # seconds
_PROBE = ".conditions"  # an object beside the logs; stays


class S3Store:
    """See `tasks.decisions.log.AuditStore`."""

    def __init__(self, address: str) -> None:
        """Take `s3://bucket/prefix`.

        Raises:
            ApoError: the address has another form.
        """
        self.address = address.rstrip("/")
        self._bucket, self._prefix = bucket_and_key(self.address)
        self._client = connect(self.address)
        self._trusted = False

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
        """See `AuditStore`.

        Raises:
            StageRefused: the server writes over what is there, or something else for good.
            StageFailed: for now.
        """
        key = self._key(model, name)
        with understood(self.address):
            self._see_conditions_kept()
            # A first try may have arrived whose answer was lost: then it is ours.
            return self._make(key, text) or self.read(model, name) == text

    def _see_conditions_kept(self) -> None:
        """Try it, once a store: a server that knows no conditions answers as if it had kept them."""
        if self._trusted:
            return
        if all(self._make(f"{self._prefix}/{_PROBE}", f"{number}\n") for number in (1, 2)):
            raise StageRefused(
                f"{self.address}: the server ignores If-None-Match: of two decisions at once it would "
                "lose one; a log needs a server that keeps this condition, or a directory"
            )
        self._trusted = True

    def _make(self, key: str, text: str) -> bool:
        """Make an object; False where there is one."""
        for _ in range(_TRIES):
            try:
                self._client.put_object(Bucket=self._bucket, Key=key, Body=text.encode(), IfNoneMatch="*")
            except ClientError as error:
                if error.response["Error"].get("Code") in _BUSY:
                    time.sleep(_PAUSE)
                    continue
                if is_taken(error):
                    return False
                raise
            return True
        raise StageFailed(f"{self.address}: {key} is being written all the time")

    def _key(self, model: str, name: str) -> str:
        return f"{self._prefix}/{quote(model, safe=' ')}/{name}"
