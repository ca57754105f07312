# SPDX-License-Identifier: LGPL-2.1-or-later
"""Guests on QEMU's own user network, of the system's libvirt and of an ordinary user's, and the layer that
lays ways into them (usernet_watch) by itself."""
import contextlib
import os
import shutil
import signal
import socket
import subprocess

import libvirt
import pytest

from lab import guest as guests
from lab import wait
from lab.transfer import Echo, Transfer, MIB, answer, http_get, refused, wait_http
from test_session import User

BUILD = os.environ.get("VF_BUILD_DIR", "build/debug")
WATCH = os.path.join(BUILD, "tests/platform/usernet_watch")
UDP_ECHO = os.path.join(BUILD, "tests/e2e/udp-echo")
PAGE = b"virt-forward lab guest web\n"


class Watch:
    """usernet_watch as a child; its last word on each target."""

    def __init__(self, domain, *targets, uri="qemu:///system", program=WATCH,
                 command=lambda *words: words):
        self._log = f"{os.environ['TMPDIR']}/usernet_watch.log"
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(command(program, uri, domain, *targets), stdout=log,
                                             stdin=subprocess.DEVNULL)

    def lines(self):
        with open(self._log, encoding="utf-8") as file:
            return file.read().splitlines()

    def said(self, target):
        return next((line.split(" ", 2)[2] for line in reversed(self.lines()) if line.startswith(f"end {target} ")), "")

    def end(self, target):
        """(address, port) of the target's tunnel, once it has one."""
        said = wait.until(lambda: self.said(target)[:1].isdigit() and self.said(target), f"a tunnel to {target}")
        address, _, port = said.rpartition(":")
        return address, int(port)

    def signal(self, number):
        self._process.send_signal(number)

    def close(self):
        self._process.terminate()
        assert self._process.wait(20) == 0


def rules(guest):
    """(protocol, host address, host port, guest address, guest port) of every rule that QEMU has."""
    found = []
    for line in guest.monitor("info usernet").splitlines():
        words = line.split()
        if words and words[0].endswith("[HOST_FORWARD]"):
            found.append((words[0][:3].lower(), words[2], int(words[3]), words[4], int(words[5])))
    return found


def udp_answer(address, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1)
        client.connect((address, port))
        client.send(b"question")
        return client.recv(100) == b"question"


def udp_echo(port):
    """Files of a guest that has a UDP echo from its start."""
    with open(UDP_ECHO, "rb") as file:
        return {"/bin/udp-echo": file.read(), "/etc/start/udp": f"#!/bin/sh\nudp-echo {port}\n".encode()}


@pytest.fixture
def watch():
    with contextlib.ExitStack() as closing:
        def make(*arguments, **options):
            made = Watch(*arguments, **options)
            closing.callback(made.close)
            return made

        yield make


@pytest.fixture
def user(nothing_left):
    one = User()
    one.virsh("list")  # starts its libvirtd
    yield one
    one.close()


@pytest.fixture
def web(guest):
    """A guest on a user network with a web server and a UDP echo on port 7."""
    return guest("web", interfaces=[guests.USER], files=udp_echo(7))


# --- the lab's guests themselves

def test_guest_of_the_system(guest):
    web = guest("web", interfaces=[guests.USER])
    assert web.monitor("hostfwd_add hostnet0 tcp:127.0.0.9:8080-:80").strip() == ""
    assert wait_http(8080, host="127.0.0.9") == PAGE
    assert web.address() == "10.0.2.15"
    assert web.monitor("hostfwd_remove hostnet0 tcp:127.0.0.9:8080").strip().endswith("removed")
    assert refused(8080, "127.0.0.9")


def test_guest_of_an_ordinary_user(user):
    connection = libvirt.open(guests.session_uri(user.account))
    web = guests.Guest(connection, "web", interfaces=[guests.USER], account=user.account)
    try:
        web.start()
        assert os.stat(f"/proc/{web.pid()}").st_uid == user.account.pw_uid
        assert web.monitor("hostfwd_add hostnet0 tcp:127.0.0.9:8080-:80").strip() == ""
        assert wait_http(8080, host="127.0.0.9") == PAGE
        web.run("listen 9 cat")
        web.monitor("hostfwd_add hostnet0 tcp:127.0.0.9:9999-:9")
        with Echo(9999, "127.0.0.9") as echo:
            echo.say()
    finally:
        web.close()
        connection.close()


# --- the layer

def test_tcp_and_udp(web, watch):
    tunnels = watch("web", "tcp:80", "udp:7", "tcp:9", "tcp:10")
    address, port = tunnels.end("tcp:80")
    assert address.startswith("127.") and address != "127.0.0.1"
    assert wait_http(port, host=address) == PAGE
    wait.until(lambda: udp_answer(*tunnels.end("udp:7")), "an answer by UDP")
    # two clients at a time
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        for client, text in ((one, b"one"), (other, b"other")):
            client.settimeout(10)
            client.connect(tunnels.end("udp:7"))
            client.send(text)
        assert (other.recv(100), one.recv(100)) == (b"other", b"one")

    web.run("listen 9 cat")
    address, port = tunnels.end("tcp:9")
    with socket.create_connection((address, port), 10) as client:
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        assert client.makefile("rb").read() == b"question"
    transfer = Transfer(tunnels.end("tcp:80")[1], 20, host=address)
    try:
        assert transfer.result() == 20 * MIB
    finally:
        transfer.close()
    # nobody listens there: accepted, then ended
    assert answer(tunnels.end("tcp:10")[1], address) in ("reset", "end")


def test_reset_keeps_the_rules(web, watch):
    tunnels = watch("web", "tcp:80")
    address, port = tunnels.end("tcp:80")
    wait_http(port, host=address)
    web.domain.reset()
    assert wait_http(port, host=address) == PAGE


def test_a_restored_domain_gets_them_anew(web, watch, connection):
    tunnels = watch("web", "tcp:80")
    first = tunnels.end("tcp:80")
    wait_http(first[1], host=first[0])
    path = "/run/lab/saved"
    web.domain.save(path)
    try:
        web.wait_off()
        connection.restore(path)
    finally:
        os.unlink(path)
    wait.until(lambda: tunnels.said("tcp:80") != f"{first[0]}:{first[1]}" and tunnels.said("tcp:80")[0].isdigit(),
               "a tunnel of the new run")
    address, port = tunnels.end("tcp:80")
    assert wait_http(port, host=address) == PAGE
    assert refused(first[1], first[0])


def test_adopts_what_it_left(guest, watch):
    web = guest("web", interfaces=[guests.USER], start=False).start_paused()
    tunnels = Watch("web", "tcp:80", "udp:7", "tcp:10.0.2.15:80")
    ends = {target: tunnels.end(target) for target in ("tcp:80", "udp:7", "tcp:10.0.2.15:80")}
    tunnels.close()
    before = rules(web)
    assert len(before) == 3
    web.monitor("hostfwd_add hostnet0 tcp:127.0.0.1:8080-:80")
    tunnels = watch("web", "tcp:80", "tcp:10.0.2.15:80")
    assert tunnels.end("tcp:80") == ends["tcp:80"]
    assert tunnels.end("tcp:10.0.2.15:80") == ends["tcp:10.0.2.15:80"]
    wait.until(lambda: len(rules(web)) == 3, "what nobody wants any more is gone")
    tunnels.signal(signal.SIGUSR1)
    wait.until(lambda: rules(web) == [("tcp", "127.0.0.1", 8080, "10.0.2.15", 80)], "ours are gone, the user's is not")


def test_left_over_of_a_domain_that_wants_nothing(guest, watch):
    web = guest("web", interfaces=[guests.USER], start=False).start_paused()
    tunnels = Watch("web", "tcp:80")
    tunnels.end("tcp:80")
    tunnels.close()
    assert len(rules(web)) == 1
    watch("web")
    wait.until(lambda: rules(web) == [], "the rule is gone")


def test_a_domain_that_wants_nothing_is_not_tainted(guest, watch):
    web = guest("web", interfaces=[guests.USER], start=False).start_paused()
    tunnels = watch("web")
    wait.until(lambda: "ordered" in tunnels.lines(), "its order")
    tunnels.signal(signal.SIGUSR1)
    wait.until(lambda: "forgotten" in tunnels.lines(), "it has been through the domains")
    assert "custom monitor" not in " ".join(web.domain.messages())
    web.monitor("info usernet")
    assert "custom monitor" in " ".join(web.domain.messages()), "what a taint looks like"


def test_a_rule_that_got_lost(guest, watch):
    web = guest("web", interfaces=[guests.USER], start=False).start_paused()
    tunnels = watch("web", "tcp:80")
    address, port = tunnels.end("tcp:80")
    web.monitor(f"hostfwd_remove hostnet0 tcp:{address}:{port}")
    assert refused(port, address)
    tunnels.signal(signal.SIGHUP)
    wait.until(lambda: not refused(port, address), "the rule is back")


def test_interfaces_come_and_go(guest, watch, connection):
    """The guest must run: it takes part in the unplugging."""
    own = guests.USER.replace("<model", "<alias name='ua-second_1'/><model").replace(
        "</interface>", "<mac address='52:54:00:77:00:02'/></interface>")
    root_port = "<controller type='pci' index='0' model='pcie-root'/>" + "".join(
        f"<controller type='pci' index='{number}' model='pcie-root-port'/>" for number in range(1, 8))
    web = guest("web", interfaces=[], devices=root_port)
    tunnels = watch("web", "tcp:80")
    wait.until(lambda: "no interface of type 'user'" in tunnels.said("tcp:80"), "the reason")
    web.run("true")
    web.domain.attachDeviceFlags(own, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    tunnels.end("tcp:80")
    assert "hostua-second_1" in web.monitor("info usernet")
    assert len(rules(web)) == 1
    web.domain.detachDeviceFlags(own, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    wait.until(lambda: "no interface of type 'user'" in tunnels.said("tcp:80"), "the reason again")


def test_survives_libvirtd(guest, watch, libvirtd):
    web = guest("web", interfaces=[guests.USER], start=False).start_paused()
    tunnels = watch("web", "tcp:80")
    address, port = tunnels.end("tcp:80")
    libvirtd.kill()
    assert not refused(port, address)
    libvirtd.start()
    tunnels.signal(signal.SIGUSR1)
    wait.until(lambda: refused(port, address), "taken away through the new libvirtd")


def test_as_an_ordinary_user(user, watch):
    connection = libvirt.open(guests.session_uri(user.account))
    web = guests.Guest(connection, "web", interfaces=[guests.USER], account=user.account)
    try:
        web.start()
        program = shutil.copy(WATCH, os.environ["TMPDIR"])  # where that user can read it
        tunnels = Watch("web", "tcp:80", uri="qemu:///session", command=user.command, program=program)
        try:
            address, port = tunnels.end("tcp:80")
            assert wait_http(port, host=address) == PAGE
            assert http_get(port, "/cgi-bin/env", host=address)
        finally:
            tunnels.close()
    finally:
        web.close()
        connection.close()
