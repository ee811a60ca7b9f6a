"""An audit log on S3, or on a server that keeps its conditions: `If-None-Match: *` makes an object once."""

from __future__ import annotations

from urllib.parse import quote

import boto3
from botocore.exceptions import ClientError

from apo_core.data.entries import s3_address
from apo_core.errors import ApoError
from tasks.s3 import understood

_TAKEN = {"PreconditionFailed", "ConditionalRequestConflict"}


class S3Store:
    """See `tasks.audit_store.AuditStore`."""

    def __init__(self, address: str) -> None:
        """Take `s3://bucket/prefix`.

        Raises:
            ApoError: the address has another form.
        """
        self.address = address.rstrip("/")
        try:
            self._bucket, self._prefix = s3_address(self.address)
        except ValueError:
            raise ApoError(f"APO_AUDIT_URI: {address!r} is not of the form s3://bucket/prefix") from None
        self._client = boto3.client("s3")

    def names(self, model: str) -> list[str]:
        """See `AuditStore`."""
        start = self._key(model, "")
        with understood(self.address):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=start)
            keys = [found["Key"] for page in pages for found in page.get("Contents", ())]
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
            try:
                self._client.put_object(Bucket=self._bucket, Key=key, Body=text.encode(), IfNoneMatch="*")
            except ClientError as error:
                if error.response["Error"].get("Code") not in _TAKEN:
                    raise
                # A first try may have arrived whose answer was lost: then it is ours.
                return self.read(model, name) == text
        return True

    def _key(self, model: str, name: str) -> str:
        return f"{self._prefix}/{quote(model, safe=' ')}/{name}"
