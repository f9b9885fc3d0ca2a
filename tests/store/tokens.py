"""Credentials that end: sessions of a role, as a security token service hands them out."""

import json
import secrets
import subprocess
from contextlib import closing

from botocore.config import Config

from tests.conftest import CephServer

WHO = {"Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam:::user/apd"]}, "Action": ["sts:AssumeRole"]}
WHAT = {"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*", "arn:aws:s3:::*/*"]}


def policy(statement: dict[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def session(ceph: CephServer, seconds: int) -> dict[str, str]:
    """storage_options that the server accepts for so long."""
    role = f"role-{secrets.token_hex(4)}"
    administer = ["radosgw-admin", "--conf", f"{ceph.folder}/ceph.conf"]
    for command in (
        ["role", "create", "--role-name", role, "--path", "/", "--assume-role-policy-doc", policy(WHO)],
        ["role-policy", "put", "--role-name", role, "--policy-name", "everything", "--policy-doc", policy(WHAT)],
    ):
        subprocess.run([*administer, *command], check=True, capture_output=True, timeout=60)
    unchecked = Config(parameter_validation=False)  # boto3 would insist on a quarter of an hour
    arn = f"arn:aws:iam:::role/{role}"
    with closing(ceph.client("sts", config=unchecked)) as service:
        found = service.assume_role(RoleArn=arn, RoleSessionName="test", DurationSeconds=seconds)["Credentials"]
    keys = {"key": found["AccessKeyId"], "secret": found["SecretAccessKey"], "token": found["SessionToken"]}
    return keys | {"endpoint_url": ceph.endpoint}
