"""Creates what the services of `compose.yaml` need: buckets, and the trainer's account at MLflow.

Idempotent: buckets that exist stay as they are, and the account's password is set again.

Usage: python provision.py BUCKET...
"""

from __future__ import annotations

import os
import sys

import boto3
from botocore.exceptions import ClientError
from mlflow.exceptions import RestException
from mlflow.server import get_app_client

TRAINER = "trainer"  # the pipeline's runs log as this account, which is no administrator


def create_buckets(names: list[str]) -> None:
    """Create the buckets that do not exist."""
    client = boto3.client("s3")
    for name in names:
        try:
            client.head_bucket(Bucket=name)
        except ClientError as error:
            if error.response["Error"]["Code"] != "404":
                raise
            client.create_bucket(Bucket=name)
            print(f"bucket {name} created")


def create_account(password: str) -> None:
    """Create the trainer's account at MLflow, or set its password."""
    client = get_app_client("basic-auth", tracking_uri=os.environ["MLFLOW_TRACKING_URI"])
    try:
        client.get_user(TRAINER)
    except RestException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        client.create_user(TRAINER, password)
        print(f"account {TRAINER} created")
    else:
        client.update_user_password(TRAINER, password)


if __name__ == "__main__":
    create_buckets(sys.argv[1:])
    create_account(os.environ["TRAINER_PASSWORD"])
