"""The promises of conftest.py: one thread, no network, and S3 servers that keep what they acknowledged."""

import os
import socket

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


def test_ceph_keeps_what_it_acknowledged_through_kill(ceph):
    bucket = ceph.bucket().removeprefix("s3://")
    s3 = client(ceph)
    for number in range(20):
        s3.put_object(Bucket=bucket, Key=f"object-{number}", Body=b"%d" % number)
    ceph.kill()
    ceph.start()
    for number in range(20):
        assert s3.get_object(Bucket=bucket, Key=f"object-{number}")["Body"].read() == b"%d" % number


def test_ceph_lets_one_writer_create_an_object(ceph):
    bucket = ceph.bucket().removeprefix("s3://")
    s3 = client(ceph)
    s3.put_object(Bucket=bucket, Key="marker", Body=b"first", IfNoneMatch="*")
    with pytest.raises(s3.exceptions.ClientError, match="PreconditionFailed"):
        s3.put_object(Bucket=bucket, Key="marker", Body=b"second", IfNoneMatch="*")
