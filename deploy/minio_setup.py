"""Make what the service needs of a MinIO server: the bucket, and users with no more rights than they need. Repeatable.

From the environment: MINIO_ENDPOINT (`host:port`), MINIO_SECURE (`0`: no TLS), MINIO_ROOT_USER, MINIO_ROOT_PASSWORD, BUCKET;
OBJECTS_ACCESS_KEY and OBJECTS_SECRET_KEY, for the service; ENGINE_ACCESS_KEY and ENGINE_SECRET_KEY, for a query engine that
reads the lake, or nothing. A user that is there already gets the secret that is given now.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click
from minio import Minio, MinioAdmin
from minio.credentials.providers import StaticProvider
from minio.error import MinioException

BUCKET = os.environ.get("BUCKET", "smarthouse")


def main() -> None:
    endpoint, secure = os.environ["MINIO_ENDPOINT"], os.environ.get("MINIO_SECURE", "1") != "0"
    root = StaticProvider(os.environ["MINIO_ROOT_USER"], os.environ["MINIO_ROOT_PASSWORD"])
    client = Minio(endpoint=endpoint, credentials=root, secure=secure)
    admin = MinioAdmin(endpoint=endpoint, credentials=root, secure=secure)
    if not client.bucket_exists(BUCKET):
        client.make_bucket(BUCKET)  # without versions and without locks: what is deleted must be gone
    for name, prefix in (("minio", "OBJECTS"), ("engine", "ENGINE")):
        access_key, secret_key = os.environ.get(f"{prefix}_ACCESS_KEY"), os.environ.get(f"{prefix}_SECRET_KEY")
        if not access_key or not secret_key:
            click.echo(f"no {prefix}_ACCESS_KEY and {prefix}_SECRET_KEY: no such user is made")
            continue
        policy = f"{BUCKET}-{name}"
        admin.policy_add(policy, policy=_policy(name))
        admin.user_add(access_key, secret_key)
        admin.policy_set(policy, user=access_key)
        click.echo(f"user {access_key} may do what {name}-policy.json allows in the bucket {BUCKET}")


def _policy(name: str) -> dict[str, object]:
    text = (Path(__file__).parent / f"{name}-policy.json").read_text()
    policy: dict[str, object] = json.loads(text.replace(":::smarthouse", f":::{BUCKET}"))
    return policy


if __name__ == "__main__":
    try:
        main()
    except (KeyError, MinioException) as fault:
        sys.exit(f"{type(fault).__name__}: {fault}")
