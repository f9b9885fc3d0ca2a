"""The promises of conftest.py: one thread, no network, and S3 servers that keep what they acknowledged."""

import os
import socket
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
import torch


def client(server):
    return boto3.client(
        "s3", endpoint_url=server.endpoint, aws_access_key_id=server.key, aws_secret_access_key=server.secret
    )


def test_torch_runs_on_one_thread():
    assert torch.get_num_threads() == 1
    assert os.environ["OMP_NUM_THREADS"] == "1"


def test_a_connection_to_another_machine_is_refused():
    with socket.socket() as connection, pytest.raises(PermissionError, match=r"192\.0\.2\.7 port 443 refused"):
        connection.connect(("192.0.2.7", 443))


def test_loopback_is_open():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass


def test_buckets_are_new_and_empty(moto_server):
    first, second = moto_server.bucket(), moto_server.bucket()
    assert first != second
    assert client(moto_server).list_objects_v2(Bucket=first.removeprefix("s3://"))["KeyCount"] == 0


@pytest.mark.parametrize("name", ["moto_server", "ceph"])
def test_one_of_many_racing_creators_wins(name, request):
    server = request.getfixturevalue(name)
    bucket = server.bucket().removeprefix("s3://")
    s3 = client(server)

    def creates(key):
        try:
            s3.put_object(Bucket=bucket, Key=key, Body=b"mine", IfNoneMatch="*")
        except s3.exceptions.ClientError as error:
            if error.response["Error"]["Code"] not in ("PreconditionFailed", "ConditionalRequestConflict"):
                raise
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        for number in range(3):
            assert sum(pool.map(creates, [f"object-{number}"] * 8)) == 1


def test_ceph_keeps_what_it_acknowledged_through_kill(ceph):
    bucket = ceph.bucket().removeprefix("s3://")
    s3 = client(ceph)
    for number in range(20):
        s3.put_object(Bucket=bucket, Key=f"object-{number}", Body=b"%d" % number)
    ceph.kill()
    ceph.start()
    for number in range(20):
        assert s3.get_object(Bucket=bucket, Key=f"object-{number}")["Body"].read() == b"%d" % number
