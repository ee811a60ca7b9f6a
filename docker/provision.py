"""What the services of `compose.yaml` need once: buckets, the trainer's account. Again, it changes nothing.

Usage: python provision.py BUCKET...
"""

from __future__ import annotations

import os
import sys

import boto3
from botocore.exceptions import ClientError
from mlflow.exceptions import RestException
from mlflow.server import get_app_client

TRAINER = "trainer"  # who runs of the pipeline are by; an administrator is not needed for them


def make_buckets(names: list[str]) -> None:
    """Make those that are not there."""
    client = boto3.client("s3")
    for name in names:
        try:
            client.head_bucket(Bucket=name)
        except ClientError as error:
            if error.response["Error"]["Code"] != "404":
                raise
            client.create_bucket(Bucket=name)
            print(f"bucket {name} is made")


def make_account(password: str) -> None:
    """The trainer's account at MLflow, with this password."""
    client = get_app_client("basic-auth", tracking_uri=os.environ["MLFLOW_TRACKING_URI"])
    try:
        client.get_user(TRAINER)
    except RestException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        client.create_user(TRAINER, password)
        print(f"account {TRAINER} is made")
    else:
        client.update_user_password(TRAINER, password)


if __name__ == "__main__":
    make_buckets(sys.argv[1:])
    make_account(os.environ["TRAINER_PASSWORD"])
