# SPDX-License-Identifier: LGPL-2.1-or-later
"""Short-cuts past the relay with a real guest: who is taken to it, and what becomes of that."""
import json
import socket
import subprocess

import pytest

from lab import guest as guests
from lab import wait
from lab.programs import Cli
from lab.transfer import LOOPBACK, MIB, Echo, Transfer, assert_served, refused, wait_refused

FORWARDS = ("<forward name='web' guest-port='80' host-port='8080'/>"
            "<forward name='echo' guest-port='7' host-port='7007'/>"
            "<forward name='nft' guest-port='7' host-port='7008' offload='nftables'/>"
            "<forward name='plain' guest-port='7' host-port='7009' offload='none'/>")
REDIRECTED = ("web", "echo")


@pytest.fixture(scope="module")
def daemon(shared_daemon):
    return shared_daemon


@pytest.fixture(scope="module")
def web(daemon, shared_guest):
    """A running guest with FORWARDS, each forward of which has carried a connection. Tests leave it so."""
    booted = shared_guest("web", guests.forwards(FORWARDS.replace("<", "<vf:")))
    booted.run("listen 7 cat")
    assert_served(8080, "web")
    for port in (7007, 7008, 7009):
        with Echo(port) as echo:
            echo.say()
    for name in REDIRECTED:
        daemon.wait_forward(name=name, state="active", offload="redirect")
    daemon.wait_forward(name="nft", state="active", offload="nftables")
    return booted


def peer_in_kernel(client):
    """Where the kernel's socket of an established connection of ours really goes."""
    port = client.getsockname()[1]
    lines = subprocess.run(["ss", "-Htn", "state", "established", f"sport = :{port}"], capture_output=True, text=True,
                           check=True).stdout.split("\n")
    return [line.split()[3] for line in lines if line.strip()]


def carried(daemon, name):
    """Bytes that the relay has carried; None where nobody counts all of them."""
    return daemon.wait_forward(name=name).get("bytes")


def ways(name):
    return {way["way"]: way for way in json.loads(Cli("explain", "web", name, "--json").stdout)["ways"]}


def test_a_connection_goes_past_the_relay(daemon, web):
    for host in LOOPBACK:
        with Echo(7007, host) as echo:
            echo.say()
            assert [web.address() in peer for peer in peer_in_kernel(echo._socket)] == [True]
            assert echo._socket.getpeername()[:2] == (host, 7007), "as if it were the host's port"
            wait.until(lambda: daemon.wait_forward(name="echo")["connections"] == 1, "it is counted")
    assert carried(daemon, "echo") is None, "unknown is not 0"
    with Echo(7009) as echo:
        echo.say()
        assert peer_in_kernel(echo._socket) == ["127.0.0.1:7009"]
    assert carried(daemon, "plain")["in"] > 0


def test_by_nftables(daemon, web):
    with Echo(7008) as echo:
        echo.say()
        entries = subprocess.run(["conntrack", "-L", "-p", "tcp", "--orig-port-dst", "7008"], capture_output=True,
                                 text=True, check=True).stdout
        assert web.address() in entries, entries
    assert ways("nft")["nftables"]["state"] == "used"
    assert "offload" in ways("nft")["redirect"]["reason"]


def test_explain_and_list_name_it(daemon, web):
    assert "tcp+redirect" in Cli("list", "web").stdout
    assert ways("web")["redirect"]["state"] == "used"
    assert ways("web")["nftables"] == {"way": "nftables", "state": "rejected", "reason": "redirect is taken"}
    assert ways("web")["tcp"]["state"] == "used"
    assert "vsock" in ways("web")["vsock"]["reason"]


def test_bulk(daemon, web):
    """100 MiB, each byte the right one."""
    transfer = Transfer(8080, 100)
    try:
        assert transfer.result() == 100 * MIB
    finally:
        transfer.close()


def test_half_close(daemon, web):
    for port in (7007, 7008):
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            client.sendall(b"question")
            client.shutdown(socket.SHUT_WR)
            assert client.makefile("rb").read() == b"question"


def test_remove_cuts_them_and_no_other(daemon, web):
    with Echo(7007) as kept:
        for name, offload, extra in (("gone", "redirect", ()), ("gone4", "nftables", ("--offload=nftables",))):
            port = int(Cli("add", "web", "7", "--name", name, *extra).stdout)
            with Echo(port) as first:
                first.say()
                daemon.wait_forward(name=name, offload=offload)
                with Echo(port) as past:
                    past.say()
                    Cli("remove", "web", name)
                    assert past.ended() == "reset"
        kept.say()


def test_a_label_and_the_attribute_itself_cut_nothing(daemon, web, connection):
    with Echo(7007) as open_before:
        open_before.say()
        web.set_forwards(FORWARDS.replace("name='echo'", "name='echo' label='an echo' offload='none'"))
        daemon.wait_forward(name="echo", offload="none", label="an echo")
        open_before.say()
        with Echo(7007) as relayed:
            relayed.say()
            assert peer_in_kernel(relayed._socket) == ["127.0.0.1:7007"]
            web.set_forwards(FORWARDS)
            daemon.wait_forward(name="echo", offload="redirect")
            relayed.say()
        open_before.say()


def test_flush_of_the_ruleset(daemon, web):
    """Established connections go on, and the short-cut is back."""
    with Echo(7008) as before:
        before.say()
        subprocess.run(["nft", "flush", "ruleset"], check=True)
        before.say()
        with Echo(7008) as after:
            after.say()
    wait.until(lambda: "7008" in subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True,
                                                check=True).stdout, "the table is back")


def test_the_daemon_killed(daemon, web):
    """Without the daemon there is no redirection, and the relay serves; the new one takes up where it was."""
    with Echo(7007) as before:
        before.say()
        daemon.kill()
        before.say()
        with Echo(7007) as relayed:
            relayed.say()
            assert peer_in_kernel(relayed._socket) == ["127.0.0.1:7007"]
        daemon.start()
        daemon.wait_connected()
        before.say()
    for port in (8080, 7008):
        with socket.create_connection(("127.0.0.1", port), 10):
            pass
    daemon.wait_forward(name="echo", offload="redirect")
    daemon.wait_forward(name="nft", offload="nftables")


def test_what_the_killed_daemon_redirected(daemon, web):
    """The next one counts it, and cuts it as its own."""
    port = int(Cli("add", "web", "7", "--name", "old").stdout)
    with Echo(port) as first:
        first.say()
    daemon.wait_forward(name="old", offload="redirect")
    with Echo(port) as past, Echo(7007) as kept:
        past.say()
        kept.say()
        daemon.kill()
        daemon.start()
        daemon.wait_connected()
        for name in ("old", "echo"):
            daemon.wait_forward(name=name, offload="redirect")
            wait.until(lambda: daemon.wait_forward(name=name)["connections"] == 1, f"{name} is counted")
        past.say()
        Cli("remove", "web", "old")
        assert past.ended() == "reset"
        kept.say()


def test_a_service_that_is_gone_is_refused(daemon, web):
    """What was taken past the relay and refused makes the relay look, and it says so."""
    web.run("listen 70 cat")
    port = int(Cli("add", "web", "70", "--name", "short").stdout)
    with Echo(port) as echo:
        echo.say()
    daemon.wait_forward(name="short", offload="redirect")
    web.run("unlisten 70")
    wait_refused_by_guest(port)
    daemon.wait_forward(name="short", state="no-listener")
    Cli("remove", "web", "short")


def wait_refused_by_guest(port):
    def try_once():
        try:
            with Echo(port, timeout=5) as echo:
                return echo.ended() == "reset"
        except OSError:
            return True
    wait.until(try_once, f"the guest refuses port {port}")


def test_stop_leaves_nothing(daemon, guest_of_its_own):
    """Not a connection, not an entry: a host service that takes the port next is never hijacked."""
    web = guest_of_its_own
    client = Echo(8180)
    client.say()
    web.domain.destroy()
    wait_refused(8180, deadline=5.0)
    assert client.ended() == "reset"
    client.close()
    with socket.create_server(("127.0.0.1", 8180)) as own:
        own.settimeout(10)
        with socket.create_connection(("127.0.0.1", 8180), 5) as to_own:
            assert peer_in_kernel(to_own) == ["127.0.0.1:8180"]
            own.accept()[0].close()


@pytest.fixture
def guest_of_its_own(daemon, shared_guest):
    other = shared_guest("other", guests.forwards("<vf:forward name='e' guest-port='7' host-port='8180'/>"))
    other.run("listen 7 cat")

    def up():
        with Echo(8180) as echo:
            echo.say()
        return True

    wait.until(lambda: not refused(8180) and up(), "it answers")
    daemon.wait_forward(name="e", offload="redirect")
    return other
