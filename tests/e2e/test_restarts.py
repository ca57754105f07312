# SPDX-License-Identifier: LGPL-2.1-or-later
"""libvirtd, the daemon and the relay end and come back; what runs through forwards goes on as far as it can."""
import os
import signal
import socket
import threading

import libvirt
import pytest

from lab import guest as guests
from lab import host, wait
from lab.programs import Cli
from lab.transfer import MIB, Echo, Transfer, assert_served, refused, wait_refused

# Past the relay its end is nobody's business: that is in test_offload.py.
METADATA = guests.forwards("<vf:forward name='web' guest-port='80' host-port='8080' offload='none'/>"
                           "<vf:forward name='echo' guest-port='7' offload='none'/>")
BOTH = libvirt.VIR_DOMAIN_AFFECT_LIVE | libvirt.VIR_DOMAIN_AFFECT_CONFIG


@pytest.fixture(scope="module")
def daemon(shared_daemon):
    return shared_daemon


@pytest.fixture(scope="module")
def web(daemon, shared_guest):
    """A running guest with METADATA. Tests leave it so."""
    booted = shared_guest("web", METADATA)
    booted.run("listen 7 cat")
    assert_served(8080, "web")
    return booted


@pytest.fixture
def transfer(daemon, web):
    """100 MiB on their way through the forward, some of which have come."""
    daemon.wait_forward(name="web", state="active")
    running = Transfer(8080, 100)
    running.wait_received(2)
    yield running
    running.close()


def echo_port(daemon):
    return daemon.wait_forward(name="echo", state="active")["host"]["port"]


def assert_goes_on(transfer):
    """What happened meanwhile happened while bytes were left to carry, and all have come right."""
    assert transfer.running, "the transfer was over too early to prove anything"
    assert transfer.result() == 100 * MIB


def test_libvirtd(daemon, web, libvirtd, transfer):
    port = echo_port(daemon)
    libvirtd.kill()
    with Echo(port) as echo:
        try:
            echo.say()
        finally:
            libvirtd.start()
        wait.until(lambda: daemon.log().rfind("connected to libvirt") > daemon.log().rfind("no connection to libvirt"),
                   "the daemon is connected again")
        echo.say()
    assert_goes_on(transfer)
    assert echo_port(daemon) == port
    # and it hears of changes again
    web.set_forwards("<forward name='web' guest-port='80' host-port='8080' offload='none'/><forward name='echo' guest-port='7' offload='none'/>"
                     "<forward name='new' guest-port='80' host-port='8081'/>")
    assert_served(8081, "web")
    web.set_forwards("<forward name='web' guest-port='80' host-port='8080' offload='none'/><forward name='echo' guest-port='7' offload='none'/>")
    wait_refused(8081)
    assert echo_port(daemon) == port


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["kill-9", "sigterm"])
def test_daemon(daemon, web, transfer, number):
    port = echo_port(daemon)
    relays = daemon.relay_pids()
    with Echo(port) as before:
        before.say()
        status = daemon.kill(number)
        assert status == (0 if number == signal.SIGTERM else -signal.SIGKILL)
        with Echo(port) as meanwhile:
            meanwhile.say()
            before.say()
            assert Cli("list", check=False).status == 7
            daemon.start()
            for name in ("web", "echo"):
                daemon.wait_forward(name=name, state="active")
            before.say()
            meanwhile.say()
    assert_goes_on(transfer)
    assert echo_port(daemon) == port
    assert daemon.relay_pids() == relays
    # the restarted daemon owns what it found
    Cli("remove", "web", "web")
    wait_refused(8080)
    web.set_forwards("<forward name='web' guest-port='80' host-port='8080' offload='none'/><forward name='echo' guest-port='7' offload='none'/>")
    assert_served(8080, "web")
    assert echo_port(daemon) == port


def test_clients_do_not_notice_a_new_daemon(daemon, web):
    """They connect all the time, also while it finds out what there is."""
    port = echo_port(daemon)
    errors = []
    served = 0
    over = threading.Event()

    def connect():
        nonlocal served
        while not over.is_set():
            try:
                with Echo(port) as echo:
                    echo.say()
                served += 1
            except OSError as error:
                errors.append(error)

    thread = threading.Thread(target=connect)
    thread.start()
    try:
        for _ in range(3):
            daemon.restart()
            daemon.wait_forward(name="echo", state="active")
    finally:
        over.set()
        thread.join()
    assert served > 10
    assert not errors


def test_relay(daemon, web, transfer):
    port = echo_port(daemon)
    # The daemon sleeps, so that there is a gap for certain.
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        daemon.kill_relay()
        assert transfer.failure()
        clients = [Echo(port, name) for name in ("127.0.0.1", "::1") * 5]
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    for client in clients:
        with client:
            client.say()
    assert echo_port(daemon) == port
    assert_served(8080, "web")
    assert len(daemon.relay_pids()) == 1


def test_relay_again_and_again(daemon, web):
    """A client that connects all the time is never refused."""
    port = echo_port(daemon)
    served = 0
    for _ in range(3):
        daemon.kill_relay()
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port), 10) as client:
                try:
                    client.sendall(b"x")
                    served += client.recv(1) == b"x"
                except ConnectionResetError:
                    pass  # it was with the relay that was killed
        wait.until(daemon.relay_pids, "a new relay")
    assert served > 50
    with Echo(echo_port(daemon)) as echo:
        echo.say()


def test_daemon_and_relay_at_once(daemon, web):
    port = echo_port(daemon)
    daemon.kill()
    daemon.kill_relay()
    wait_refused(8080, port)
    daemon.start()
    assert_served(8080, "web")
    assert echo_port(daemon) == port, "sticky for the domain's run"


def test_lost_hints(daemon, web):
    port = echo_port(daemon)
    daemon.kill()
    os.unlink("/run/virt-forward/ports")
    daemon.start()
    assert echo_port(daemon) == port, "the relay still holds it"


def test_moved_port_is_sticky(daemon, web, guest):
    """A forward that had to move stays there though the port it wants is free again."""
    with socket.create_server(("127.0.0.1", 8180)):
        other = guest("other", guests.forwards("<vf:forward guest-port='80' host-port='8180'/>"), start=False)
        other.start_paused()
        daemon.wait_forward(domain="other", host_port=8181)
    daemon.restart()
    daemon.wait_forward(domain="other", host_port=8181)
    daemon.kill_relay()
    wait.until(daemon.relay_pids, "the daemon has started another relay")
    daemon.wait_forward(domain="other", host_port=8181)
    daemon.kill()
    daemon.kill_relay()
    daemon.start()
    daemon.wait_forward(domain="other", host_port=8181)
    assert refused(8180)
    # for its run only
    other.domain.destroy()
    other.start_paused()
    daemon.wait_forward(domain="other", host_port=8180)


def test_definition_changed_while_the_daemon_was_down(daemon, web):
    port = echo_port(daemon)
    with Echo(port) as echo:
        echo.say()
        daemon.kill()
        web.set_forwards("<forward name='web' guest-port='80' host-port='8090' offload='none'/><forward name='echo' guest-port='7' offload='none'/>",
                         BOTH)
        daemon.start()
        assert_served(8090, "web")
        wait_refused(8080)
        echo.say()
        daemon.kill()
        web.set_forwards(None, BOTH)
        daemon.start()
        wait_refused(8090, port)
        assert echo.ended() == "reset"
    daemon.kill()
    web.set_forwards("<forward name='web' guest-port='80' host-port='8080' offload='none'/><forward name='echo' guest-port='7' offload='none'/>", BOTH)
    daemon.start()
    assert_served(8080, "web")


def test_domain_stopped_while_the_daemon_was_down(daemon, guest):
    other = guest("other", guests.forwards("<vf:forward guest-port='80' host-port='8180'/>"))
    assert_served(8180, "other")
    transfer = Transfer(8180, 100)
    try:
        transfer.wait_received(1)
        daemon.kill()
        other.domain.destroy()
        assert not refused(8180), "the relay does not know"
        daemon.start()
        wait_refused(8180, deadline=1.0)
        assert transfer.failure(1)
    finally:
        transfer.close()
    assert daemon.forwards("other") == []


def test_domain_started_while_the_daemon_was_down(daemon, guest):
    other = guest("other", guests.forwards("<vf:forward guest-port='80' host-port='8180'/>"), start=False)
    daemon.kill()
    other.start_paused()
    daemon.start()
    daemon.wait_forward(domain="other", host_port=8180)


def test_libvirtd_is_gone_when_the_daemon_starts(daemon, web, libvirtd):
    port = echo_port(daemon)
    daemon.kill()
    libvirtd.kill()
    try:
        daemon.start()
        with Echo(port) as echo:
            echo.say()
    finally:
        libvirtd.start()
    daemon.wait_forward(name="web", state="active")
    assert_served(8080, "web")


def test_qemu_killed_while_libvirtd_was_down(daemon, guest, libvirtd):
    other = guest("other", guests.forwards("<vf:forward guest-port='80' host-port='8180'/>"), start=False)
    other.start_paused()
    daemon.wait_forward(domain="other", host_port=8180)
    pid = other.pid()
    libvirtd.kill()
    try:
        os.kill(pid, signal.SIGKILL)
        wait.until(lambda: not host.alive(pid), "QEMU has ended")
        assert not refused(8180), "nobody could know"
    finally:
        libvirtd.start()
    wait_refused(8180, deadline=10)
