"""The place on S3 of one version of a model."""

from __future__ import annotations

from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from tasks.storage.manifest import MANIFEST, Manifest, parse_manifest
from tasks.storage.s3_client import is_absent, understood


class Shelf(NamedTuple):
    """Where one version of a model lies, or is to lie."""

    client: Any
    bucket: str
    prefix: str  # ends with a slash

    @property
    def address(self) -> str:
        """For people."""
        return f"s3://{self.bucket}/{self.prefix}"


def read_manifest(shelf: Shelf) -> Manifest | None:
    """The manifest of a published model; None where there is none, and so no whole model.

    Raises:
        InputError: it is damaged.
        StageRefused, StageFailed: it cannot be read, for good or now.
    """
    address = f"{shelf.address}{MANIFEST}"
    with understood(address):
        try:
            answer = shelf.client.get_object(Bucket=shelf.bucket, Key=f"{shelf.prefix}{MANIFEST}")
            text = answer["Body"].read()
        except ClientError as error:
            if is_absent(error):
                return None
            raise
    return parse_manifest(address, text)
