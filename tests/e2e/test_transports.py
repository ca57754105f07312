# SPDX-License-Identifier: LGPL-2.1-or-later
"""The contract of every way into a guest, and the choice between them.

tcp and ssh lead into one guest, usernet into a second, vsock into a stand-in (lab/agents.py). What a stand-in
cannot show, a real guest's vsock, is tests/e2e/nested's. What is asked for is served by the transport alone,
without an offload.
"""
import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time

import pytest

import conftest
from lab import agents, host, leaks, ssh, wait
from lab import guest as guests
from lab.programs import Cli, Watch
from lab.transfer import MIB, Echo, Transfer, answer, http_get, wait_http, wait_refused

POLICY = "/etc/virt-forward/virt-forward.conf"
NOBODY = 4999  # a port on which nothing listens in any guest
ECHO, WEB = 9, 80
# At each boot: nobody has to come and start it.
SERVICES = {"/etc/start/services": b"#!/bin/sh\nlisten 9 cat\nhttp 8081 127.0.0.1\n"}
SSH = "<vf:ssh user='root' identity='lab'/>"
TRANSPORTS = ("tcp", "ssh", "usernet", "vsock")


class Way:
    """One transport, with a forward to an echo and one to a web server that are always there."""

    def __init__(self, transport, number):
        self.transport = transport
        self.echo, self.web = 9100 + number, 8100 + number
        self.guest = self.inside = None

    @property
    def definitions(self):
        return "".join(
            f"<vf:forward name='{self.transport}-{name}' guest-port='{port}' host-port='{host_port}' "
            f"transport='{self.transport}' offload='none'/>"
            for name, port, host_port in (("echo", ECHO, self.echo), ("web", WEB, self.web)))

    @property
    def page(self):
        return f"virt-forward lab guest {self.guest.name}\n".encode()

    def add(self, target, name, *options):
        """A further forward; its host port."""
        done = Cli("add", self.guest.name, target, "--transport", self.transport, "--offload", "none", "--name", name,
                   *options)
        return int(done.stdout)

    def remove(self, name):
        Cli("remove", self.guest.name, name)

    @contextlib.contextmanager
    def with_forward(self, name, target, *options):
        """A forward of `auto`, for as long as that lasts."""
        Cli("add", self.guest.name, target, "--name", name, "--offload", "none", *options)
        try:
            yield
        finally:
            self.remove(name)

    def start_services(self):
        self.inside.serve(ECHO)
        self.inside.serve_web()
        self.inside.start_agent()

    def reset(self):
        self.guest.domain.reset()
        if self.inside:
            self.inside.kill_agent()
            self.inside.stop_services()
            self.start_services()

    def echoes(self):
        with Echo(self.echo) as client:
            client.say()
        return True

    def wait_works(self, daemon, deadline=60.0):
        wait_http(self.web, deadline=deadline)
        # The guest starts one service after the other; and a client proves that one works.
        wait.until(self.echoes, "the echo service answers", deadline)
        for name in ("echo", "web"):
            daemon.wait_forward(name=f"{self.transport}-{name}", state="active", transport=self.transport)


@pytest.fixture(scope="module")
def daemon(nothing_left_of_module):
    key = ssh.Key()
    os.makedirs(os.path.dirname(POLICY), exist_ok=True)
    with open(POLICY, "w", encoding="utf-8") as file:
        file.write(f"[ssh-keys]\nlab={key.path}\n")
    for running in conftest._daemon(*agents.DAEMON_OPTIONS):
        running.key = key
        yield running
    os.unlink(POLICY)


@pytest.fixture(scope="module")
def module_guest(request, libvirtd, daemon):
    yield from conftest._guests(request, libvirtd, daemon)


@pytest.fixture(scope="module")
def idle(daemon):
    """What is there without any guest."""
    return leaks.settled()


@pytest.fixture(scope="module")
def ways(idle, daemon, module_guest):
    """{transport: Way}, all of them proven."""
    made = {name: Way(name, number) for number, name in enumerate(TRANSPORTS)}
    web = module_guest("web", guests.forwards(made["tcp"].definitions + made["ssh"].definitions + SSH), ssh=daemon.key,
                       files=SERVICES)
    user = module_guest("user", guests.forwards(made["usernet"].definitions), [guests.USER], files=SERVICES)
    paused = module_guest("agent", guests.forwards(made["vsock"].definitions + "<vf:auto/>"), start=False)
    for name, guest in (("tcp", web), ("ssh", web), ("usernet", user), ("vsock", paused)):
        made[name].guest = guest
    with agents.StandIn(paused.uuid, "agent") as inside:
        made["vsock"].inside = inside
        made["vsock"].start_services()
        paused.start_paused()
        for way in made.values():
            way.wait_works(daemon)
            with Echo(way.echo) as client:
                client.say()
        daemon.wait_proven()
        leaks.settled()
        yield made


@pytest.fixture(params=TRANSPORTS)
def way(request, ways, nothing_left):
    return ways[request.param]


# --- bytes

def test_data_both_ways_and_half_closed(way):
    sent = os.urandom(4 * MIB)
    for address in ("127.0.0.1", "::1"):
        with socket.create_connection((address, way.echo), 60) as client:
            def send():
                client.sendall(sent)
                client.shutdown(socket.SHUT_WR)

            sender = threading.Thread(target=send)
            sender.start()
            assert client.makefile("rb").read() == sent
            sender.join(10)


def test_hundred_megabytes(way):
    transfer = Transfer(way.web, 100, timeout=120)
    try:
        assert transfer.result(200) == 100 * MIB
    finally:
        transfer.close()


# --- nobody listens there

def test_nobody_listens(daemon, way):
    port = way.add(str(NOBODY), "nobody")
    try:
        if way.transport != "vsock":  # an agent tells before anybody has tried
            daemon.wait_forward(name="nobody", state="active")
        end = answer(port)
        if way.transport == "usernet":
            # QEMU has let the client in before it asks the guest, and tells nobody of the guest's refusal.
            assert end in ("end", "reset")
            assert daemon.wait_forward(name="nobody", host_port=port)["state"] == "active"
            return
        if way.transport == "ssh":
            # ssh has let the relay in before it asks the guest.
            assert end in ("end", "reset")
            words = "refused"
        else:
            assert end == "reset"
            words = "nothing listens"
        assert words in daemon.wait_forward(name="nobody", state="no-listener", deadline=10)["reason"]
        assert http_get(way.web) == way.page, "a sibling is as it was"
    finally:
        way.remove("nobody")


# --- cut and not cut

def test_removed_while_open(way):
    port = way.add(str(ECHO), "gone")
    with Echo(way.echo) as sibling, Echo(port) as client:
        sibling.say()
        client.say()
        way.remove("gone")
        assert client.ended() in ("reset", "end")
        wait_refused(port)
        sibling.say()
        assert http_get(way.web) == way.page


def test_blocked_while_open(daemon, ways, nothing_left):
    """Only what was found by itself can be blocked, and only an agent finds it."""
    way = ways["vsock"]
    service = way.inside.serve(3000)
    daemon.wait_forward(host_port=3000, state="active")
    with Echo(way.echo) as sibling, Echo(3000) as client:
        sibling.say()
        client.say()
        Cli("block", "agent", "3000")
        assert client.ended() == "reset"
        wait_refused(3000)
        sibling.say()
    Cli("unblock", "agent", "3000")
    daemon.wait_forward(host_port=3000, state="active")
    service.close()
    wait.until(lambda: not [one for one in daemon.forwards() if one["origin"] == "auto"], "its grace is over", 20)


def test_host_port_is_busy(way):
    with socket.create_server(("127.0.0.1", 9300)):
        done = Cli("add", way.guest.name, f"9300:{ECHO}", "--transport", way.transport, "--offload", "none", "--name", "next")
        assert done.stdout == "9301\n" and "9300 is taken" in done.stderr
        with Echo(9301) as client:
            client.say()
        way.remove("next")


# --- ends of processes

def test_the_daemon_is_killed(daemon, way):
    with Echo(way.echo) as client:
        client.say()
        daemon.kill()
        client.say()
        with Echo(way.echo) as another:
            another.say()
        daemon.start()
        daemon.wait_forward(name=f"{way.transport}-echo", state="active", transport=way.transport)
        client.say()
        port = way.add(str(ECHO), "new")
        with Echo(port) as another:
            another.say()
        way.remove("new")
        client.say()


@pytest.mark.parametrize("program", ["ssh", "virt-forward-ssh"])
def test_ssh_is_killed(daemon, ways, nothing_left, program):
    way = ways["ssh"]
    victims = wait.until(lambda: host.processes(program), f"{program} runs")
    with Watch() as watch, Echo(ways["tcp"].echo) as other, Echo(way.echo) as client:
        other.say()
        client.say()
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        assert client.ended() in ("reset", "end")
        assert "ssh" in watch.wait("changed", name="ssh-echo", state="waiting")["forward"]["reason"]
        wait.until(lambda: daemon.wait_forward(name="ssh-echo", state="active"), "it is back", 30)
        with Echo(way.echo) as another:
            another.say()
        assert http_get(way.web) == way.page
        other.say()
    assert not [pid for pid in victims if host.alive(pid)]


def test_guest_is_reset(daemon, ways, way):
    way.reset()
    if not way.inside:
        way.guest.address()  # who gives up earlier leaves half of a connection behind for a minute
    assert wait_http(way.web) == way.page
    for one in ways.values():
        if one.guest is way.guest:
            one.wait_works(daemon)


# --- what cannot be

@pytest.mark.parametrize("transport, domain, words", [
    ("ssh", "user", "the domain's metadata has no <ssh>"),
    ("usernet", "web", "no interface of type 'user'"),
    ("tcp", "user", "no network interface on a bridge"),
])
def test_pinned_and_impossible(daemon, ways, nothing_left, transport, domain, words):
    done = Cli("add", domain, "9400:80", "--transport", transport, check=False)
    assert (done.status, done.stdout) == (1, "")
    assert words in done.stderr
    wait_refused(9400)
    assert not [one for one in daemon.forwards() if one["host"].get("port") == 9400]


def test_pinned_and_impossible_in_metadata(daemon, guest, nothing_left):
    body = "<vf:forward name='one' guest-port='80' host-port='9400' transport='ssh'/>"
    guest("plain", guests.forwards(body), start=False).start_paused()
    assert "no <ssh>" in daemon.wait_forward(name="one", state="failed")["reason"]


def test_key_that_the_host_does_not_list(daemon, guest, nothing_left):
    body = "<vf:forward name='one' guest-port='80' host-port='9400' transport='ssh'/><vf:ssh user='root' identity='other'/>"
    guest("plain", guests.forwards(body), start=False).start_paused()
    reason = daemon.wait_forward(name="one", state="failed")["reason"]
    assert '"other"' in reason and "[ssh-keys]" in reason
    done = Cli("add", "plain", "9401:81", "--transport", "ssh", check=False)
    assert done.status == 1 and '"other"' in done.stderr


@pytest.fixture
def guest(request, libvirtd, daemon, nothing_left):
    """Without the check that nothing is left beside the module's guests: nothing_left has it."""
    yield from conftest._guests(request, libvirtd, None)


# --- the choice

def explained(domain, name):
    """{way: (state, reason)}"""
    [forward] = json.loads("[" + ",".join(Cli("explain", domain, name, "--json").stdout.splitlines()) + "]")
    return {one["way"]: (one["state"], one.get("reason", "")) for one in forward["ways"]}


def test_every_way_is_explained(daemon, ways, nothing_left):
    with ways["tcp"].with_forward("any", f"9500:{WEB}"):
        assert wait_http(9500) == ways["tcp"].page
        daemon.wait_forward(name="any", state="active", transport="tcp")
        wait.until(lambda: explained("web", "any")["ssh"][0] == "ready", "ssh is ready", 20)
        said = explained("web", "any")
        assert said["tcp"] == ("used", "")
        assert said["vsock"][0] == "rejected" and "virt-forward-guest does not answer" in said["vsock"][1]
        assert said["usernet"] == ("rejected", "the domain has no interface of type 'user'")
        text = Cli("explain", "web", "any").stdout
        assert all(transport in text for transport in TRANSPORTS) and "virt-forward-guest does not answer" in text
    pinned = explained("web", "ssh-echo")
    assert pinned["ssh"] == ("used", "") and pinned["tcp"] == ("rejected", 'transport="ssh"')


@contextlib.contextmanager
def swallowed(address, port):
    """A firewall that drops new connections to a port of the guest."""
    rules = ("table ip test { chain output { type filter hook output priority 0;\n"
             f"ip daddr {address} tcp dport {port} tcp flags & (syn|ack) == syn drop\n}}\n}}")
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
    try:
        yield
    finally:
        subprocess.run(["nft", "delete table ip test"], check=True)


def test_falls_to_ssh_and_comes_back(daemon, ways, nothing_left):
    way = ways["tcp"]
    with way.with_forward("any", f"9500:{ECHO}"):
        wait.until(lambda: explained("web", "any")["ssh"][0] == "ready", "ssh is ready", 20)
        address = way.guest.address()
        with Watch() as watch, Echo(9500) as old:
            old.say()
            daemon.wait_forward(name="any", state="active", transport="tcp")
            with swallowed(address, ECHO), Echo(9500) as by_ssh:
                began = time.monotonic()
                by_ssh.say()  # the first has waited a second
                daemon.wait_forward(name="any", state="active", transport="ssh")
                assert explained("web", "any")["ssh"][0] == "used"
                for _ in range(5):
                    with Echo(9500) as another:
                        another.say()
                assert time.monotonic() - began < 10, "nobody after the first waits again"
                old.say()

            def by_tcp():
                with Echo(9500) as another:
                    another.say()
                [forward] = [one for one in daemon.forwards("web") if one["name"] == "any"]
                return forward["transport"] == "tcp"

            wait.until(by_tcp, "tcp again", 60)
            old.say()
            seen = [event["forward"] for event in list(watch.events) if "forward" in event]
        taken = [one.get("transport") for one in seen if one.get("name") == "any"]
        changes = [one for one, before in zip(taken, [None, *taken]) if one != before]
        assert "".join(f" {one}" for one in changes).endswith(" ssh tcp") and changes.count("ssh") == 1, changes


def test_agent_instead_of_usernet(daemon, guest, nothing_left):
    """To ask QEMU for a port of the user network marks the domain as tainted: not where there is no need."""
    body = "<vf:forward name='any' guest-port='80' host-port='9600'/>"
    domain = guest("both", guests.forwards(body), [guests.USER], start=False)
    with agents.StandIn(domain.uuid, "both") as inside:
        inside.serve_web()
        inside.start_agent()
        domain.start_paused()
        daemon.wait_forward(name="any", state="active", transport="vsock")
        assert wait_http(9600) == b"virt-forward lab guest both\n"
        assert "custom monitor" not in " ".join(domain.domain.messages())
        assert explained("both", "any")["usernet"][0] == "rejected"


# --- the end

def test_destroyed(daemon, ways, idle):
    """It takes the file's guests away."""
    open_ones = [Echo(way.echo) for way in ways.values()]
    for client in open_ones:
        client.say()
    for way in (ways["tcp"], ways["usernet"], ways["vsock"]):
        way.guest.domain.destroy()
    for client in open_ones:
        assert client.ended() in ("reset", "end")
        client.close()
    for way in ways.values():
        wait_refused(way.echo, way.web)
    ways["vsock"].inside.stop_services()
    ways["vsock"].inside.kill_agent()
    daemon.end_idle_ssh()
    leaks.check(idle)


def test_vsock_without_a_device(daemon, guest, nothing_left):
    """Of a daemon that looks for agents where users have them: not while the stand-in lives."""
    daemon.arguments = ()
    daemon.restart(signal.SIGTERM)
    try:
        body = "<vf:forward name='one' guest-port='80' host-port='9401' transport='vsock'/>"
        guest("plain", guests.forwards(body), start=False).start_paused()
        assert "no <vsock> device" in daemon.wait_forward(name="one", state="failed")["reason"]
        done = Cli("add", "plain", "9400:80", "--transport", "vsock", check=False)
        assert (done.status, done.stdout) == (1, "")
        assert "no <vsock> device" in done.stderr and "<vsock model='virtio'>" in done.stderr
        wait_refused(9400)
    finally:
        daemon.arguments = agents.DAEMON_OPTIONS
        daemon.restart(signal.SIGTERM)
