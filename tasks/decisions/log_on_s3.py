"""The store of a log of decisions on S3, where `If-None-Match: *` has an object created only once."""

from __future__ import annotations

import time
from urllib.parse import quote

from botocore.exceptions import ClientError

from apo_core.errors import StageFailed, StageRefused
from tasks.storage.s3_client import (
    bucket_and_key,
    connect,
    is_taken,
    list_objects,
    read_object,
    translate_s3_errors,
)

_BUSY = {
    "ConditionalRequestConflict",
    "409",
}  # another process writes the object now: who wins is not known yet
_PAUSE, _TRIES = 0.2, 50  # seconds between tries, and their number
_PROBE = ".conditions"  # an object beside the logs that shows whether the server keeps conditions; it stays


class S3Store:
    """A `tasks.decisions.log.AuditStore` below a prefix of a bucket."""

    def __init__(self, address: str) -> None:
        """Take `s3://bucket/prefix`.

        Raises:
            ApoError: the address has another form.
        """
        self.address = address.rstrip("/")
        self._bucket, self._prefix = bucket_and_key(self.address)
        self._client = connect(self.address)
        self._keeps_conditions = False  # not known yet

    def names(self, model: str) -> list[str]:
        """See `AuditStore`."""
        prefix = self._key(model, "")
        with translate_s3_errors(self.address):
            keys = [item.key for item in list_objects(self._client, self._bucket, prefix)]
        return sorted(key.removeprefix(prefix) for key in keys if key.endswith(".json"))

    def read(self, model: str, name: str) -> str:
        """See `AuditStore`."""
        with translate_s3_errors(self.address):
            body = read_object(self._client, self._bucket, self._key(model, name))
        return body.decode(errors="replace")

    def create(self, model: str, name: str, text: str) -> bool:
        """See `AuditStore`.

        Raises:
            StageRefused: the server overwrites an existing object, or refuses for good.
            StageFailed: the server does not answer now.
        """
        key = self._key(model, name)
        with translate_s3_errors(self.address):
            self._require_conditions()
            # A first try may have arrived although its answer was lost: then the object has our text.
            return self._create(key, text) or self.read(model, name) == text

    def _require_conditions(self) -> None:
        """Probe the server, once per store: a server that ignores conditions answers as if it kept them."""
        if self._keeps_conditions:
            return
        if all(self._create(f"{self._prefix}/{_PROBE}", f"{number}\n") for number in (1, 2)):
            raise StageRefused(
                f"{self.address}: the server ignores If-None-Match: of two decisions at once it would "
                "lose one; a log needs a server that keeps this condition, or a directory"
            )
        self._keeps_conditions = True

    def _create(self, key: str, text: str) -> bool:
        """Create an object; False if there is one of that key."""
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
        raise StageFailed(f"{self.address}: {key} was being written by others for {_PAUSE * _TRIES:.0f} s")

    def _key(self, model: str, name: str) -> str:
        return f"{self._prefix}/{quote(model, safe=' ')}/{name}"
