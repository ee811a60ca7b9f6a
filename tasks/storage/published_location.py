"""Where one version of a model lies on S3, and the manifest that is there."""

from __future__ import annotations

from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from tasks.storage.manifest import MANIFEST, Manifest, parse_manifest
from tasks.storage.s3_client import is_absent, read_object, translate_s3_errors


class PublishedLocation(NamedTuple):
    """The S3 prefix at which one version of a model is, or will be, published."""

    client: Any
    bucket: str
    prefix: str  # ends with a slash

    @property
    def address(self) -> str:
        """The prefix as people write it."""
        return f"s3://{self.bucket}/{self.prefix}"


def read_manifest(location: PublishedLocation) -> Manifest | None:
    """The manifest of a published model; None where there is none, and so no whole model.

    Raises:
        InputError: the manifest is damaged.
        StageRefused: the server refuses to hand it out.
        StageFailed: the server cannot be reached now.
    """
    address = f"{location.address}{MANIFEST}"
    with translate_s3_errors(address):
        try:
            text = read_object(location.client, location.bucket, f"{location.prefix}{MANIFEST}")
        except ClientError as error:
            if is_absent(error):
                return None
            raise
    return parse_manifest(address, text)
