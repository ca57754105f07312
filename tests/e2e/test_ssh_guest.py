# SPDX-License-Identifier: LGPL-2.1-or-later
"""Guests with an ssh server, and tunnels into them: virt-forward-ssh with a real guest, as its own user."""
import os
import pwd
import subprocess

import pytest

from lab import host, ssh, wait


@pytest.fixture
def program():
    running = ssh.Program()
    yield running
    running.close()
    assert not os.listdir(running.sockets)
    assert not host.processes("ssh")


def log_in(key, address, known_hosts, command):
    options = ("IdentitiesOnly=yes", "BatchMode=yes", "StrictHostKeyChecking=accept-new", "ConnectTimeout=5",
               "ServerAliveInterval=2", "ServerAliveCountMax=2", f"UserKnownHostsFile={known_hosts}")
    return subprocess.run(["ssh", "-F", "none", "-i", key.path, *(f"-o{option}" for option in options),
                           f"root@{address}", command], capture_output=True, text=True,
                          timeout=60 * wait.SLOWNESS, check=False, stdin=subprocess.DEVNULL)


def test_log_in(guest, ssh_key, tmp_path):
    web = guest("web", ssh=ssh_key)
    address = web.address()

    def logged_in():
        done = log_in(ssh_key, address, tmp_path / "known", "test ! -e /run/before && hostname")
        return done.stdout == "web\n" or print(done.stderr)

    wait.until(logged_in, "the guest lets us in", 60)
    # the same host key after the guest's next boot
    web.run("touch /run/before")
    web.order("reboot -f")
    wait.until(logged_in, "the guest lets us in again", 60)
    stranger = ssh.Key("stranger")
    denied = log_in(stranger, address, tmp_path / "known", "hostname")
    assert denied.returncode == 255 and "Permission denied" in denied.stderr


def test_tunnels_to_what_listens_on_the_guests_loopback(guest, ssh_key, program):
    web = guest("web", ssh=ssh_key, uuid="d3b2a6f0-0d5e-4c1a-9a55-6b1f0c9d7e01")
    web.run("http 8080 127.0.0.1")
    web.run("listen 3000 cat")
    program.order(web.uuid, ssh_key, address=web.address(), ports=[8080, 3000])
    assert ssh.says(program.tunnel(3000)) == b"hello"
    path = program.tunnel(8080)
    assert b"virt-forward lab guest web" in ssh.says(path, b"GET / HTTP/1.0\r\n\r\n")
    # the relay's user may connect, nobody else
    for user, group, status in (("virt-forward", "virt-forward", 0), ("nobody", "nogroup", 1)):
        connected = subprocess.run(["/usr/bin/python3", "-c", f"import socket; socket.socket(socket.AF_UNIX).connect({path!r})"],
                                   user=user, group=group, extra_groups=[], stderr=subprocess.PIPE, check=False)
        assert connected.returncode == status, connected.stderr
    assert os.stat(f"{program.state}/known_hosts.d/{web.uuid}").st_uid == pwd.getpwnam(ssh.USER).pw_uid

    web.order("reboot -f")
    program.fails()
    program.tunnels.clear()
    path = program.tunnel(3000)
    web.run("listen 3000 cat")
    assert ssh.says(path) == b"hello"
