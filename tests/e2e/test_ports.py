# SPDX-License-Identifier: LGPL-2.1-or-later
"""Host ports: who gets which, what is busy, and who may listen where.

Nearly all of it needs no guest, so the domains here are started paused.
"""
import errno
import os
import re
import signal
import socket
import subprocess
import time

import pytest

from lab import guest as guests
from lab import wait
from lab.programs import Cli
from lab.transfer import LOOPBACK, assert_served, refused, wait_refused

WEB = "<vf:forward guest-port='80' host-port='8080'/>"
DROP_IN = "/etc/virt-forward/virt-forward.conf.d/50-test.conf"
BRIDGE = "192.168.122.1"


@pytest.fixture(scope="module")
def daemon(shared_daemon):
    return shared_daemon


@pytest.fixture
def paused(guest):
    """Makes domains that never run an instruction."""
    def make(name="web", body=WEB):
        return guest(name, guests.forwards(body), start=False).start_paused()
    return make


def listener(port, address="127.0.0.1", **options):
    """An unrelated process's socket (of this one)."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, port), family=family, **options)


def forward(name, on_busy="next", port=8080):
    return f"<vf:forward name='{name}' guest-port='80' host-port='{port}' on-busy='{on_busy}'/>"


# --- two who want the same


def test_cloned_domain_gets_the_next_port(daemon, guest):
    """As virt-clone makes it: another name, UUID and MAC, the same metadata. Each port is its own guest's."""
    web = guest("web", guests.forwards(WEB))
    daemon.wait_forward(domain="web", host_port=8080)
    clone = guest("clone", guests.forwards(WEB))
    second = daemon.wait_forward(domain="clone", host_port=8081)
    assert second["host"]["requested-port"] == 8080
    assert_served(8080, "web")
    assert_served(8081, "clone")
    assert f"forward=tcp:8080:80 host=127.0.0.1:8081 guest={clone.address()}:80" in daemon.log()
    # the first one's end moves nobody
    web.domain.destroy()
    wait_refused(8080)
    assert_served(8081, "clone")
    assert Cli("url", "clone").stdout == "http://127.0.0.1:8081\n"
    # and the first one's next run finds its port free
    web.start_paused()
    daemon.wait_forward(domain="web", host_port=8080)


def test_add_says_that_the_port_is_another(daemon, paused):
    paused()
    daemon.wait_forward(domain="web", host_port=8080)
    paused("other", "")
    wait.until(lambda: Cli("list", "other", check=False).status == 0, "the daemon knows it")
    done = Cli("add", "other", "8080:80")
    assert done.stdout == "8081\n"
    assert "8080 is taken; using 8081" in done.stderr
    done = Cli("add", "other", "8080:81", "--on-busy", "fail", check=False)
    assert (done.status, done.stdout) == (5, "")
    assert "8080" in done.stderr
    assert [f["host"]["port"] for f in daemon.forwards("other")] == [8081]


# --- held by somebody else


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "0.0.0.0", "::"])
def test_port_held_by_an_unrelated_process(daemon, paused, address):
    with listener(8080, address) as holder:
        paused("web", forward("next") + forward("any", "any") + forward("fail", "fail"))
        moved = daemon.wait_forward(name="next", host_port=8081)
        assert moved["host"]["addresses"] == list(LOOPBACK)
        chosen = daemon.wait_forward(name="any")["host"]
        assert chosen["port"] not in (8080, 8081) and chosen["requested-port"] == 8080
        busy = daemon.wait_forward(name="fail", state="port-busy")
        assert "8080 is in use by another program" in busy["reason"]
        assert re.search(r"port-busy.*next try \d\d:\d\d:\d\d", Cli("list").stdout, re.DOTALL)
        # whoever had it keeps it, on every address
        for host in LOOPBACK:
            if address in (host, {"127.0.0.1": "0.0.0.0", "::1": "::"}[host]):
                socket.create_connection((host, 8080), 5).close()
                holder.settimeout(5)
                holder.accept()[0].close()
            else:
                assert refused(8080, host)
    got = daemon.wait_forward(name="fail", host_port=8080, deadline=35)
    assert got["host"]["addresses"] == list(LOOPBACK)
    # and nobody else moves back
    assert daemon.wait_forward(name="next")["host"]["port"] == 8081


def test_port_given_back_by_a_forward_is_had_at_once(daemon, paused):
    first = paused("first")
    daemon.wait_forward(domain="first", host_port=8080)
    paused("second", forward("fail", "fail"))
    daemon.wait_forward(domain="second", state="port-busy")
    begun = time.monotonic()
    first.domain.destroy()
    daemon.wait_forward(domain="second", host_port=8080)
    assert time.monotonic() - begun < 5


def test_highest_port_busy(daemon, paused):
    with listener(65535):
        paused("web", forward("next", port=65535) + forward("any", "any", 65535))
        reason = daemon.wait_forward(name="next", state="port-busy")["reason"]
        assert "65535" in reason
        assert daemon.wait_forward(name="any")["host"]["port"] != 65535
        done = Cli("add", "web", "65535:81", check=False)
        assert (done.status, done.stdout) == (5, "")
    daemon.wait_forward(name="next", host_port=65535, deadline=35)


@pytest.mark.parametrize("port", ["0", "65536", "99999", "-1", "+80", "0x50", "", " 80", "80.0", "4294967376"])
def test_no_such_port(daemon, paused, port):
    paused("web", f"<vf:forward guest-port='80' host-port='{port}'/>"
                  f"<vf:forward guest-port='{port}'/><vf:forward name='good' guest-port='80'/>")
    daemon.wait_forward(name="good")
    assert [f["name"] for f in daemon.forwards()] == ["good"]
    problems = Cli("list").stderr
    assert problems.count(f'"{port}"') >= 2 and "host-port" in problems and "guest-port" in problems
    for spec in (f"{port}:80", f"8080:{port}"):
        done = Cli("add", "web", "--", spec, check=False)
        assert (done.status, done.stdout) == (2, ""), done.stderr
    assert len(daemon.forwards()) == 1


# --- ranges


def test_range(daemon, paused):
    with listener(18001):
        paused("web", "<vf:forward guest-port='8000-8003' host-port='18000-18003' on-busy='fail'/>")
        for offset in (0, 2, 3):
            daemon.wait_forward(guest_port=8000 + offset, host_port=18000 + offset)
        assert daemon.wait_forward(guest_port=8001)["state"] == "port-busy"
    daemon.wait_forward(guest_port=8001, host_port=18001, deadline=35)


def test_range_of_free_ports(daemon, paused):
    paused("web", "<vf:forward name='many' guest-port='8000-8003'/>")
    wait.until(lambda: len({f["host"].get("port") for f in daemon.forwards()} - {None}) == 4, "four ports")
    Cli("remove", "web", "many")
    assert daemon.forwards() == []


def test_hints_that_are_garbage(daemon, paused):
    paused("web", "<vf:forward name='any' guest-port='80'/>")
    daemon.wait_forward(name="any")
    daemon.kill()
    daemon.kill_relay()
    with open("/run/virt-forward/ports", "wb") as file:
        file.write(b"\0garbage\n[[[\xff\n" * 100)
    daemon.start()
    daemon.wait_connected()
    assert "port" in daemon.wait_forward(name="any")["host"]


# --- who listens


def listeners(port):
    """Local addresses that listen on the port."""
    lines = subprocess.run(["ss", "-Hltn", f"sport = :{port}"], capture_output=True, text=True, check=True).stdout
    return sorted(line.split()[3] for line in lines.splitlines())


def test_only_loopback_listens(daemon, paused):
    before = set(listeners(8080))
    assert not before
    paused("web", WEB + "<vf:forward name='any' guest-port='81'/>")
    port = daemon.wait_forward(name="any")["host"]["port"]
    daemon.wait_forward(host_port=8080)
    for number in (8080, port):
        assert listeners(number) == [f"127.0.0.1:{number}", f"[::1]:{number}"]
    assert refused(8080, BRIDGE)


@pytest.mark.parametrize("option", [socket.SO_REUSEPORT, socket.SO_REUSEADDR], ids=["reuseport", "reuseaddr"])
@pytest.mark.parametrize("address", LOOPBACK)
def test_port_is_not_shared(daemon, paused, address, option):
    """The same user asks to share it: a listening socket with SO_REUSEPORT would let it."""
    paused()
    daemon.wait_forward(host_port=8080)
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as thief:
        thief.setsockopt(socket.SOL_SOCKET, option, 1)
        with pytest.raises(OSError) as caught:
            thief.bind((address, 8080))
            thief.listen()
        assert caught.value.errno == errno.EADDRINUSE


@pytest.fixture
def policy(daemon):
    """Writes a policy drop-in and has the daemon read it; the default again after the test."""
    def set_policy(text):
        os.makedirs(os.path.dirname(DROP_IN), exist_ok=True)
        with open(DROP_IN, "w", encoding="ascii") as file:
            file.write(text)
        os.kill(daemon.pid, signal.SIGHUP)

    yield set_policy
    os.unlink(DROP_IN)
    os.kill(daemon.pid, signal.SIGHUP)


def test_host_address_by_policy(daemon, paused, policy):
    paused("web", f"<vf:forward guest-port='80' host-port='8080' host-address='{BRIDGE}'/>")
    denied = daemon.wait_forward(state="denied")
    assert BRIDGE in denied["reason"] and "[host] addresses" in denied["reason"]
    assert refused(8080, BRIDGE)
    done = Cli("add", "web", f"{BRIDGE}:8081:80", check=False)
    assert (done.status, done.stdout) == (6, "")
    assert "[host] addresses" in done.stderr

    policy(f"[host]\naddresses={BRIDGE}\n")
    daemon.wait_forward(host_port=8080)
    assert listeners(8080) == [f"{BRIDGE}:8080"]
    assert Cli("add", "web", f"{BRIDGE}:8081:80").stdout == "8081\n"

    policy("[host]\naddresses=0.0.0.0\n")
    assert Cli("add", "web", "0.0.0.0:8082:80").stdout == "8082\n"
    policy("[host]\naddresses=\n")
    wait.until(lambda: {f["state"] for f in daemon.forwards()} == {"denied"}, "all are denied again")
    assert DROP_IN in daemon.forwards()[0]["reason"]
    assert not listeners(8080) and not listeners(8081) and not listeners(8082)


def test_host_ports_by_policy(daemon, paused, policy):
    policy("[host]\nports=8080-8081;9000\n")
    paused("web", forward("a") + forward("b") + forward("c") + forward("d", port=22)
           + "<vf:forward name='e' guest-port='80'/>")
    ports = sorted(wait.until(lambda: [p for p in (f["host"].get("port") for f in daemon.forwards()) if p],
                              "some are bound"))
    daemon.wait_forward(name="d", state="denied")
    busy = daemon.wait_forward(name="e", state="port-busy")
    ports = sorted(f["host"]["port"] for f in daemon.forwards() if "port" in f["host"])
    assert ports == [8080, 8081, 9000]
    assert "every allowed host port is in use" in busy["reason"]


def test_privileged_port(daemon, paused):
    paused("web", "<vf:forward guest-port='80' host-port='80'/>")
    daemon.wait_forward(host_port=80)
    assert listeners(80) == ["127.0.0.1:80", "[::1]:80"]
