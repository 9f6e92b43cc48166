"""Create the bucket and the users on a MinIO server. Each user gets only the rights that it needs. You may run it again.

Environment:

- MINIO_ENDPOINT (`host:port`), MINIO_SECURE (`0`: no TLS), MINIO_ROOT_USER, MINIO_ROOT_PASSWORD, BUCKET
- OBJECTS_ACCESS_KEY and OBJECTS_SECRET_KEY: the user of the service
- ENGINE_ACCESS_KEY and ENGINE_SECRET_KEY: the user of a query engine, which reads the lake and writes parts of jobs; optional

An existing user gets the given secret.
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
        client.make_bucket(BUCKET)  # without versioning and object locking: deleted objects must be gone
    for name, prefix in (("minio", "OBJECTS"), ("engine", "ENGINE")):
        access_key, secret_key = os.environ.get(f"{prefix}_ACCESS_KEY"), os.environ.get(f"{prefix}_SECRET_KEY")
        if not access_key or not secret_key:
            click.echo(f"{prefix}_ACCESS_KEY or {prefix}_SECRET_KEY is missing: no user is created")
            continue
        policy = f"{BUCKET}-{name}"
        admin.policy_add(policy, policy=_policy(name))
        admin.user_add(access_key, secret_key)
        admin.policy_set(policy, user=access_key)
        click.echo(f"user {access_key} has the rights in {name}-policy.json on the bucket {BUCKET}")


def _policy(name: str) -> dict[str, object]:
    text = (Path(__file__).parent / f"{name}-policy.json").read_text()
    policy: dict[str, object] = json.loads(text.replace(":::smarthouse", f":::{BUCKET}"))
    return policy


if __name__ == "__main__":
    try:
        main()
    except (KeyError, MinioException) as fault:
        sys.exit(f"{type(fault).__name__}: {fault}")
