# SPDX-License-Identifier: LGPL-2.1-or-later
"""`virt-forward doctor` and `explain` where an agent tells of the guest, or should."""
import json

import pytest

from lab import agents
from lab import guest as guests
from lab import wait
from lab.programs import Cli
from test_doctor import doctor, finding, ids
from test_qemu_agent import CHANNEL, START

AUTO = guests.forwards("<vf:auto><vf:rule action='forward' process='service' label='a service'/></vf:auto>")


@pytest.fixture
def daemon(nothing_left, request):
    from conftest import _daemon
    options = agents.DAEMON_OPTIONS if "stand_in" in request.fixturenames else ()
    yield from _daemon(*options)


def test_agent_missing(daemon, stand_in):
    _, inside = stand_in(AUTO)
    wait.until(lambda: "agent-missing" not in ids("web"), "the agent is connected")
    inside.kill_agent()
    wait.until(lambda: "agent-missing" in ids("web"), "the agent is missed", 30)
    assert "virt-forward-guest" in finding("agent-missing", "web")["fix"]
    inside.start_agent()
    wait.until(lambda: doctor("web") == [], "the agent is back", 60)


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


def test_loopback_only(daemon, guest):
    web = guest("web", guests.forwards("<vf:forward name='local' guest-port='5000' host-port='5000'/><vf:auto/>"),
                devices=CHANNEL, files={**guests.program("/usr/sbin/qemu-ga"), "/etc/start/qemu-ga": START})
    web.run("busybox httpd -p 127.0.0.1:5000 -h /")
    wait.until(lambda: "loopback-only" in ids("web"), "QEMU's agent tells of it", 60)
    one = finding("loopback-only", "web")
    assert "127.0.0.1" in one["message"] and guests.VSOCK in one["fix"]
    assert "QEMU's guest agent says so" in Cli("explain", "web", "5000").stdout
