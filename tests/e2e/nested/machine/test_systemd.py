# SPDX-License-Identifier: LGPL-2.1-or-later
"""Our units, started by a real systemd in their real sandboxes."""
import os
import socket
import subprocess

import pytest

from lab import guest as guests
from lab import wait
from lab.transfer import refused, wait_http

UNITS = ("virt-forwardd.service", "virt-forward-relay.service")


def systemctl(*arguments):
    return subprocess.run(["systemctl", "--no-pager", *arguments], stdout=subprocess.PIPE, text=True, check=True,
                          timeout=60).stdout.strip()


def shown(unit, key):
    return systemctl("show", "--value", "-p", key, unit)


def journal(unit):
    return subprocess.run(["journalctl", "--no-pager", "-o", "cat", "-u", unit], stdout=subprocess.PIPE, text=True,
                          check=True, timeout=60).stdout


@pytest.fixture
def target():
    systemctl("start", "virt-forward.target")
    yield
    systemctl("stop", "virt-forward.target")
    for unit in UNITS:
        print(f"--- {unit}\n{journal(unit)}")


def test_starts_and_serves(target, guest):
    wait.until(lambda: all(shown(unit, "ActiveState") == "active" for unit in UNITS), "both services run")
    assert shown("virt-forward-relay.service", "User") == "virt-forward"
    relay = shown("virt-forward-relay.service", "MainPID")
    with open(f"/proc/{relay}/status", encoding="ascii") as file:
        status = dict(line.split(":\t") for line in file.read().splitlines() if ":\t" in line)
    assert status["CapEff"] == status["CapBnd"] == "0000000000000000"
    guest(metadata=guests.forwards("<vf:forward guest-port='80' host-port='8080'/>"), interfaces=[guests.interface()])
    assert wait_http(8080) == b"virt-forward lab guest guest\n"

    # neither an end of the daemon nor its restart touches the relay or a connection
    with socket.create_connection(("127.0.0.1", 8080), 10) as client:
        systemctl("kill", "-s", "KILL", "virt-forwardd.service")
        wait.until(lambda: shown("virt-forwardd.service", "NRestarts") != "0" and
                   shown("virt-forwardd.service", "ActiveState") == "active", "the daemon is back")
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.makefile("rb").read().endswith(b"virt-forward lab guest guest\n")
    assert shown("virt-forward-relay.service", "MainPID") == relay

    # systemctl waits for the target only, whose parts go with it
    systemctl("stop", "virt-forward.target")
    wait.until(lambda: all(shown(unit, "ActiveState") == "inactive" for unit in UNITS), "both services are stopped")
    assert refused(8080)
    assert not os.path.exists("/run/virt-forward/relay.sock")
    assert shown("virt-forwardd.service", "Result") == shown("virt-forward-relay.service", "Result") == "success"
