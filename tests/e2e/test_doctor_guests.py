# SPDX-License-Identifier: LGPL-2.1-or-later
"""`virt-forward doctor` and `explain` where an agent tells of the guest, or should."""
import json
import struct
import time

import pytest

from lab import agents
from lab import guest as guests
from lab import wait
from lab.findings import causes, doctor, finding, ids
from lab.programs import Cli
from test_hostile_agent import Enemy
from test_qemu_agent import CHANNEL, START

AUTO = guests.forwards("<vf:auto><vf:rule action='forward' process='service' label='a service'/></vf:auto>")


@pytest.fixture
def daemon(nothing_left, request):
    from conftest import _daemon
    options = agents.DAEMON_OPTIONS if "stand_in" in request.fixturenames else ()
    yield from _daemon(*options)


@causes("agent-missing")
def test_agent_missing(daemon, stand_in):
    _, inside = stand_in(AUTO)
    wait.until(lambda: "agent-missing" not in ids("web"), "the agent is connected")
    inside.kill_agent()
    wait.until(lambda: "agent-missing" in ids("web"), "the agent is missed", 30)
    assert "virt-forward-guest" in finding("agent-missing", "web")["fix"]
    inside.start_agent()
    wait.until(lambda: doctor("web") == [], "the agent is back", 60)


# An agent that refuses wants a vsock, and one of another protocol is not there yet: these answers are made here.

def says(status, version=1):
    def behave(control):
        control.sendall(b"VFG\x1a" + struct.pack("<HHiI", version, status, 0, 0))
        time.sleep(60)

    return behave


@pytest.mark.parametrize("name, answer, words, fix", [
    pytest.param("agent-refused", says(3), "refuses this daemon", "control-from = any-port", marks=causes("agent-refused")),
    pytest.param("agent-version", says(2, 2), "another protocol", "of version", marks=causes("agent-version")),
], ids=["refused", "version"])
def test_an_agent_that_does_not_serve(daemon, stand_in, guest, name, answer, words, fix):
    domain = guest("web", AUTO, start=False)
    agent = Enemy(domain.uuid, answer)
    try:
        domain.start_paused()
        wait.until(lambda: name in ids("web"), "the answer is known", 30)
        one = finding(name, "web")
        assert words in one["message"] and fix in one["fix"]
    finally:
        agent.close()


def test_explain_who_listens(daemon, stand_in):
    _, inside = stand_in(AUTO)
    service = inside.serve(5000)
    daemon.wait_forward(guest_port=5000, state="active")
    said = Cli("explain", "web", "5000").stdout
    assert 'decided by: rule 1 of <auto>: <rule process="service" label="a service"/>' in said
    assert "listens on 127.0.0.1 port 5000: service (process " in said and "user 0" in said
    assert "virt-forward-guest says so" in said
    assert "vsock" in said
    shown = json.loads(Cli("explain", "web", "5000", "--json").stdout)
    assert shown["decision"]["rule"] == 1 and shown["listeners"][0]["process"]["pid"] > 0
    assert doctor("web") == [], "the agent reaches the guest's localhost"

    Cli("block", "web", "5000")
    said = Cli("explain", "web", "5000").stdout
    assert 'put there by "virt-forward block"' in said and "virt-forward unblock web 5000" in said
    Cli("unblock", "web", "5000")
    nobody = Cli("explain", "web", "5001", check=False)
    assert nobody.status == 3 and "nothing listens" in nobody.stdout
    service.close()


@causes("loopback-only")
def test_loopback_only(daemon, guest):
    web = guest("web", guests.forwards("<vf:forward name='local' guest-port='5000' host-port='5000'/><vf:auto/>"),
                devices=CHANNEL, files={**guests.program("/usr/sbin/qemu-ga"), "/etc/start/qemu-ga": START})
    web.run("busybox httpd -p 127.0.0.1:5000 -h /")
    wait.until(lambda: "loopback-only" in ids("web"), "QEMU's agent tells of it", 60)
    one = finding("loopback-only", "web")
    assert "127.0.0.1" in one["message"] and guests.VSOCK in one["fix"]
    assert "QEMU's guest agent says so" in Cli("explain", "web", "5000").stdout
