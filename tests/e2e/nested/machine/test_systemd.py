# SPDX-License-Identifier: LGPL-2.1-or-later
"""Our units, started by a real systemd in their real sandboxes."""
import grp
import os
import socket
import subprocess

import pytest

from lab import guest as guests
from lab import ssh, wait
from lab.transfer import refused, wait_http

UNITS = ("virt-forwardd.service", "virt-forward-relay.service")
# All that the target takes with it; systemctl waits for the target alone.
PARTS = (*UNITS, "virt-forward-ssh.service", "virt-forwardd.socket", "virt-forward-relay.socket",
         "virt-forward-ssh.socket")


def systemctl(*arguments):
    return subprocess.run(["systemctl", "--no-pager", *arguments], stdout=subprocess.PIPE, text=True, check=True,
                          timeout=60).stdout.strip()


def shown(unit, key):
    return systemctl("show", "--value", "-p", key, unit)


def journal(unit):
    return subprocess.run(["journalctl", "--no-pager", "-o", "cat", "-u", unit], stdout=subprocess.PIPE, text=True,
                          check=True, timeout=60).stdout


def output(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout


def listed():
    return output("virt-forward", "list")


def stop():
    systemctl("stop", "virt-forward.target")
    wait.until(lambda: {shown(unit, "ActiveState") for unit in PARTS} == {"inactive"}, "all of it is stopped")


@pytest.fixture
def target():
    systemctl("start", "virt-forward.target")
    yield
    stop()
    for unit in (*UNITS, "virt-forward-ssh.service"):
        print(f"--- {unit}\n{journal(unit)}")


def test_starts_and_serves(target, guest):
    wait.until(lambda: all(shown(unit, "ActiveState") == "active" for unit in UNITS), "both services run")
    assert shown("virt-forward-relay.service", "User") == "virt-forward"
    relay = shown("virt-forward-relay.service", "MainPID")
    with open(f"/proc/{relay}/status", encoding="ascii") as file:
        status = dict(line.split(":\t") for line in file.read().splitlines() if ":\t" in line)
    assert status["CapEff"] == status["CapBnd"] == "0000000000000000"
    guest(metadata=guests.forwards("<vf:forward guest-port='80' host-port='8080'/>"
                                   "<vf:forward guest-port='80' host-port='8081' offload='nftables'/>"),
          interfaces=[guests.interface()])
    for port, offload in ((8080, "redirect"), (8081, "nftables")):
        assert wait_http(port) == b"virt-forward lab guest guest\n"
        wait.until(lambda: f"tcp+{offload}" in listed(), f"{offload} works in the sandbox")
        assert wait_http(port) == b"virt-forward lab guest guest\n"

    # neither an end of the daemon nor its restart touches the relay or a connection
    with socket.create_connection(("127.0.0.1", 8080), 10) as client:
        systemctl("kill", "-s", "KILL", "virt-forwardd.service")
        wait.until(lambda: shown("virt-forwardd.service", "NRestarts") != "0" and
                   shown("virt-forwardd.service", "ActiveState") == "active", "the daemon is back")
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.makefile("rb").read().endswith(b"virt-forward lab guest guest\n")
    assert shown("virt-forward-relay.service", "MainPID") == relay

    stop()
    assert refused(8080)
    assert "virt_forward" not in output("nft", "list", "ruleset")
    assert output("sysctl", "-n", "net.ipv4.conf.virbr0.route_localnet") == "0\n"
    assert not os.path.exists("/run/virt-forward/relay.sock")
    assert shown("virt-forwardd.service", "Result") == shown("virt-forward-relay.service", "Result") == "success"


def test_ssh_is_started_when_it_is_wanted(target):
    assert shown("virt-forward-ssh.socket", "ActiveState") == "active"
    os.makedirs("/etc/virt-forward/keys")
    key = ssh.Key(directory="/etc/virt-forward/keys")  # it has a /tmp of its own
    client = ssh.Client("/run/virt-forward/ssh.sock")
    # Nobody listens there: ssh runs in the sandbox and comes to the network.
    client.order("d3b2a6f0-0d5e-4c1a-9a55-6b1f0c9d7e01", key, address="127.0.0.9", ports=[80])
    assert "127.0.0.9 port 22: Connection refused" in client.fails()
    assert shown("virt-forward-ssh.service", "User") == ssh.USER
    status = os.stat("/run/virt-forward-ssh")
    assert (status.st_mode & 0o7777, grp.getgrgid(status.st_gid).gr_name) == (0o750, "virt-forward")
    client.close()
    stop()
    assert shown("virt-forward-ssh.service", "Result") == "success"
    assert not os.path.exists("/run/virt-forward-ssh") and not os.path.exists("/run/virt-forward/ssh.sock")
