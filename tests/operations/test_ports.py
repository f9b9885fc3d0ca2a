"""Ports of two installations that start at the same time."""

import socket

import pytest

from flows.operations import services
from flows.operations.services import HOST, PORTS, reserved_ports


def test_two_that_start_at_once_share_no_port():
    with reserved_ports() as ours, reserved_ports() as theirs:
        assert ours.keys() == theirs.keys() == PORTS.keys()
        assert len({*ours.values(), *theirs.values()}) == 2 * len(PORTS)


def test_one_that_is_listened_on_is_not_given(monkeypatch):
    with socket.socket() as busy:
        busy.bind((HOST, 0))
        busy.listen()
        monkeypatch.setattr(services, "PORTS", {"server": busy.getsockname()[1]})
        with reserved_ports() as ports:
            assert ports["server"] != busy.getsockname()[1]


def test_a_server_finds_its_port_again_although_its_last_connections_still_fade(monkeypatch):
    with socket.create_server((HOST, 0)) as server, socket.create_connection(server.getsockname()) as client:
        port = server.getsockname()[1]
        accepted, _ = server.accept()
        accepted.close()  # who closes first keeps the connection for a minute, after both have ended
        client.recv(1)
    with socket.socket() as probe, pytest.raises(OSError, match="in use"):
        probe.bind((HOST, port))
    with reserved_ports({"server": port}) as ports:
        assert ports["server"] == port
        assert ports.keys() == PORTS.keys()
