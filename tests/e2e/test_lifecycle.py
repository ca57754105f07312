# SPDX-License-Identifier: LGPL-2.1-or-later
"""A forward lives exactly as long as its domain runs, however that begins and ends."""
import os
import signal
import threading

import libvirt
import pytest

from lab import guest as guests
from lab import host, wait
from lab.programs import Cli
from lab.transfer import LOOPBACK, Echo, Transfer, assert_served, refused, wait_refused

# One whose port is asked for, one with any free port.
WEB = "<vf:forward name='web' guest-port='80' host-port='8080'/><vf:forward name='echo' guest-port='7'/>"
METADATA = guests.forwards(WEB)


@pytest.fixture(scope="module")
def daemon(shared_daemon):
    return shared_daemon


def echo_port(daemon):
    return daemon.wait_forward(name="echo")["host"]["port"]


def test_metadata_before_start(daemon, guest):
    web = guest("web", METADATA, start=False)
    for name in ("web", "echo"):
        assert daemon.wait_forward(everything=True, name=name)["state"] == "inactive"
    assert daemon.forwards() == []
    assert refused(8080) and refused(8080, "::1")

    web.start()
    forward = daemon.wait_forward(name="web", host_port=8080)
    assert (forward["domain"], forward["uuid"]) == ("web", web.uuid)
    assert forward["host"]["addresses"] == list(LOOPBACK)
    assert forward["guest"]["port"] == 80
    assert_served(8080, "web")
    forward = daemon.wait_forward(name="web", state="active")
    assert forward["guest"]["address"] == web.address()
    assert forward["transport"] == "tcp"
    assert "reason" not in forward

    # the same again, after it was off
    web.domain.destroy()
    wait_refused(8080)
    wait.until(lambda: daemon.forwards() == [], "no forward is listed")
    web.start()
    assert_served(8080, "web")


def end_by_shutdown(web):
    # listening, not only started
    web.run("until ls -l /proc/$(pidof acpid)/fd | grep -q /dev/input; do sleep 0.1; done")
    web.domain.shutdown()


def end_by_panic(web):
    web.run("until grep -q pvpanic_mmio /proc/modules; do sleep 0.1; done")
    web.order("panic")


@pytest.mark.parametrize("end", [
    end_by_shutdown,
    end_by_panic,
    lambda web: web.domain.destroy(),
    lambda web: os.kill(web.pid(), signal.SIGKILL),
], ids=["shutdown", "panic", "destroy", "kill-9"])
def test_everything_vanishes_when_the_domain_stops(daemon, guest, end):
    web = guest("web", METADATA)
    assert_served(8080, "web")
    port = echo_port(daemon)
    transfer = Transfer(8080, 100)
    try:
        transfer.wait_received(1)
        end(web)
        web.wait_off()
        wait_refused(8080, port)
        assert transfer.failure(5)
    finally:
        transfer.close()
    wait.until(lambda: daemon.forwards() == [], "no forward is listed")


def test_reset_and_reboot_keep_the_host_port(daemon, guest, events):
    web = guest("web", METADATA)
    assert_served(8080, "web")
    port = echo_port(daemon)
    for again in (web.domain.reset, lambda: web.order("reboot -f")):
        web.run("touch /run/before")
        events.clear()
        again()
        events.wait("reboot", web.uuid)
        wait.until(lambda: web.run("test -e /run/before", check=False)[0] == 1, "a new boot", 60)
        assert_served(8080, "web")
        web.run("listen 7 cat")
        assert echo_port(daemon) == port
        with Echo(port) as echo:
            echo.say()


def test_suspend_save_and_managed_save(daemon, guest, connection):
    web = guest("web", METADATA)
    web.run("listen 7 cat")
    assert_served(8080, "web")
    port = echo_port(daemon)

    with Echo(port) as before:
        before.say()
        web.domain.suspend()
        assert web.state()[0] == libvirt.VIR_DOMAIN_PAUSED
        # past the relay nobody would let a client in and wait
        daemon.wait_forward(name="echo", offload="none")
        wait.until(lambda: "paused" in daemon.wait_forward(name="echo", state="active").get("reason", ""), "it is said")
        with Echo(port, "::1") as meanwhile:
            assert daemon.wait_forward(name="echo")["host"]["port"] == port
            web.domain.resume()
            wait.until(lambda: "reason" not in daemon.wait_forward(name="echo", state="active"), "it is no more")
            before.say()
            meanwhile.say()

    path = "/run/lab/saved"
    web.domain.save(path)
    try:
        web.wait_off()
        wait_refused(8080, port)
        connection.restore(path)
    finally:
        os.unlink(path)
    assert_served(8080, "web")

    Cli("add", "web", "8090:80", "--name", "passing")  # of this run alone, which is not over
    web.domain.managedSave()
    web.wait_off()
    wait_refused(8080)
    wait.until(lambda: "is saved" in daemon.wait_forward(everything=True, name="echo")["reason"], "it is said")
    assert '"web" is saved' in Cli("add", "web", "8091:80", "--name", "later", "--config").stderr
    web.start()
    assert_served(8080, "web")
    assert_served(8090, "web")
    assert "next start" in daemon.wait_forward(everything=True, name="later", state="inactive")["reason"]
    with Echo(echo_port(daemon)) as after:
        after.say()


def test_destroy_and_start_at_once(daemon, guest):
    """The port of the run that has just ended is no obstacle to the next one."""
    web = guest("web", guests.forwards(
        "<vf:forward guest-port='80' host-port='8080'/>"
        "<vf:forward name='must' guest-port='80' host-port='8090' on-busy='fail' required='yes'/>"), start=False)
    web.start_paused()
    for _ in range(5):
        daemon.wait_forward(name="must", host_port=8090)
        web.domain.destroy()
        web.start_paused()
    daemon.wait_forward(name="must", host_port=8090)
    daemon.wait_forward(guest_port=80, host_port=8080)


def test_a_start_that_outruns_the_news_of_the_end(daemon, guest):
    """What the next start requires is looked at by the prepare of that start, not by what was last read of the
    run before: libvirt answers no question about a domain while its hook runs."""
    web = guest("web", guests.forwards("<vf:forward name='was' guest-port='80' host-port='8080'/>"), start=False)
    web.start_paused()
    daemon.wait_forward(name="was", host_port=8080)
    web.set_forwards("<forward name='must' guest-port='80' host-port='8080' on-busy='fail' required='yes'/>",
                     libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    daemon.wait_forward(everything=True, name="must", state="inactive")

    os.kill(daemon.pid, signal.SIGSTOP)

    def go_on():
        try:
            wait.until(lambda: host.processes("virt-forward-hook"), "the hook of the next start runs", 5)
        finally:
            os.kill(daemon.pid, signal.SIGCONT)

    try:
        web.domain.destroy()
    finally:
        at_the_hook = threading.Thread(target=go_on)
        at_the_hook.start()
    try:
        web.start_paused()
    finally:
        at_the_hook.join()
    daemon.wait_forward(name="must", host_port=8080)
    wait.until(lambda: [f["name"] for f in daemon.forwards()] == ["must"], "only the new run's forward")
