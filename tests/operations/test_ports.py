"""Ports of two installations that start at the same time."""

import socket

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
