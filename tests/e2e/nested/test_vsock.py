# SPDX-License-Identifier: LGPL-2.1-or-later
"""The machine itself: vhost-vsock is there, and so are guests under KVM that speak it."""
import os
import socket

import pytest

from lab import guest as guests
from lab import wait
from lab.transfer import wait_http

HOST = 2


def vsock():
    made = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    made.settimeout(20)
    return made


def test_devices():
    assert os.path.exists("/dev/vhost-vsock")
    assert os.path.exists("/dev/kvm")


@pytest.mark.parametrize("nic", [True, False], ids=["nic", "no-nic"])
def test_host_to_guest_and_back(guest, nic):
    inner = guest(interfaces=None if nic else [])
    inner.run("vsock listen 5000 cat")
    assert "kvm" in inner.domain.XMLDesc().splitlines()[0]
    with vsock() as client:
        client.connect((inner.cid(), 5000))
        client.sendall(b"question")
        assert client.recv(100) == b"question"
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b""
    with vsock() as listener:
        listener.bind((socket.VMADDR_CID_ANY, 6000))
        listener.listen()
        assert inner.run(f"echo hello | vsock connect {HOST} 6000 > /run/said & echo started") == "started\n"
        connection, peer = listener.accept()
        with connection:
            connection.settimeout(20)
            assert peer[0] == inner.cid()
            connection.sendall(b"welcome")
            assert connection.makefile("rb").read() == b"hello\n"
        wait.until(lambda: inner.run("cat /run/said") == "welcome", "the guest has read it")


def test_the_installation_works_here(daemon, guest):
    guest(metadata=guests.forwards("<vf:forward guest-port='80' host-port='8080'/>"))
    daemon.wait_forward(host_port=8080, state="active")
    assert wait_http(8080) == b"virt-forward lab guest guest\n"
