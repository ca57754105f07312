# SPDX-License-Identifier: LGPL-2.1-or-later
"""Ssh over vsock: a guest without any network and without our agent, whose server answers on vsock's port 22,
as systemd 256 and later has it."""
import os

import pytest

from lab import host, ssh, wait


@pytest.fixture
def program():
    running = ssh.Program()
    yield running
    running.close()
    assert not os.listdir(running.sockets)
    assert not host.processes("ssh")


def test_tunnels_over_vsock(guest, ssh_key, program):
    inner = guest("inner", interfaces=[], ssh=ssh_key)
    inner.run("listen 3000 cat")
    wait.until(lambda: ":0016 " in inner.run("cat /proc/net/tcp"), "the guest's server listens")
    program.order(inner.uuid, ssh_key, cid=inner.cid(), ports=[3000])
    # Nobody is there yet, and it says so.
    reason = program.fails()
    assert f"vsock:{inner.cid()}:22" in reason, reason
    inner.run("vsock listen 22 nc 127.0.0.1 22")
    path = program.tunnel(3000)
    assert ssh.says(path) == b"hello"
    assert ssh.says(path, b"x" * 1_000_000) == b"x" * 1_000_000
    # The same key is pinned as by any other way.
    with open(f"{program.state}/known_hosts.d/{inner.uuid}", encoding="ascii") as file:
        assert file.read().startswith(f"{inner.uuid} ssh-ed25519 ")


def test_vsock_after_an_address_that_does_not_answer(guest, ssh_key, program):
    inner = guest("inner", interfaces=[], ssh=ssh_key)
    inner.run("listen 3000 cat")
    inner.run("vsock listen 22 nc 127.0.0.1 22")
    program.order(inner.uuid, ssh_key, address="127.0.0.9", cid=inner.cid(), ports=[3000])
    assert ssh.says(program.tunnel(3000)) == b"hello"
