# SPDX-License-Identifier: LGPL-2.1-or-later
"""The states of a forward and the words that explain them, each reached as a user would reach it."""
import socket

import libvirt
import pytest

from lab import guest as guests
from lab import wait
from lab.programs import Cli, Watch
from lab.transfer import Echo, answer, refused, wait_refused

ECHO = "<vf:forward name='echo' guest-port='7' host-port='7070'/>"


@pytest.fixture(scope="module")
def daemon(shared_daemon):
    return shared_daemon


@pytest.fixture(scope="module")
def web(daemon, shared_guest):
    """A guest where nothing listens on port 7."""
    booted = shared_guest("web", guests.forwards(ECHO))
    daemon.wait_forward(name="echo", state="active")
    booted.run("true")
    return booted


def test_no_listener_and_back(daemon, web):
    assert "active, unproven" in Cli("list", "web").stdout
    for host in ("127.0.0.1", "::1"):
        assert answer(7070, host) == "reset"
    reason = daemon.wait_forward(name="echo", state="no-listener")["reason"]
    assert f"{web.address()}:7" in reason and "nothing listens" in reason
    assert "no-listener" in Cli("list", "web").stdout

    web.run("listen 7 cat")
    with Echo(7070) as echo:
        echo.say()
    assert "reason" not in daemon.wait_forward(name="echo", state="active")
    assert "unproven" not in Cli("list", "web").stdout

    web.run("unlisten 7")
    # a failure that follows another within a second is not told
    wait.until(lambda: answer(7070) == "reset" and daemon.forwards("web")[0]["state"] == "no-listener",
               "clients are reset and the state says why")


def test_no_connection_is_made_without_a_client(daemon, web):
    """The first client is the probe: the guest's service sees nobody before."""
    web.run("listen 9 'sh -c \"echo x >> /run/seen\"'")
    Cli("add", "web", "9090:9", "--name", "probe")
    daemon.wait_forward(name="probe", state="active")
    assert web.run("cat /run/seen", check=False)[0] != 0
    assert answer(9090) == "end"
    assert web.run("cat /run/seen").strip() == "x"
    Cli("remove", "web", "probe")
    web.run("unlisten 9")


def test_waiting_for_the_guest(daemon, guest):
    other = guest("other", guests.forwards("<vf:forward guest-port='80' host-port='8180'/>"), start=False)
    other.start_paused()
    waiting = daemon.wait_forward(domain="other", state="waiting")
    assert "no address" in wait.until(lambda: daemon.forwards("other")[0]["reason"], "a reason")
    assert waiting["url"] == "http://127.0.0.1:8180"
    assert answer(8180) == "reset", "listens, and says at once that nobody is there"


def test_no_interface(daemon, guest):
    other = guest("other", guests.forwards("<vf:forward guest-port='80' host-port='8180'/>"), interfaces=[],
                  start=False)
    other.start_paused()
    wait.until(lambda: "no network interface" in daemon.forwards("other")[0].get("reason", ""), "the reason")
    assert daemon.forwards("other")[0]["state"] == "waiting"


def test_states_without_a_port(daemon, guest):
    """Side by side; the good one works."""
    other = guest("other", guests.forwards(
        "<vf:forward name='good' guest-port='80'/>"
        "<vf:forward name='off' guest-port='80' host-port='8181' enabled='no'/>"
        "<vf:forward name='denied' guest-port='80' host-port='8182' host-address='0.0.0.0'/>"
        "<vf:forward name='proxied' guest-port='53' host-port='8183' protocol='udp' proxy-protocol='v2'/>"
        "<vf:forward name='socket' guest-port='80' host-socket='web/x.sock'/>"
        "<vf:forward name='vsock' guest-port='80' host-port='8184' transport='vsock'/>"), start=False)
    other.start_paused()
    daemon.wait_forward(domain="other", name="good", state="waiting")
    forwards = {forward["name"]: forward for forward in daemon.forwards("other")}
    assert {name: forward["state"] for name, forward in forwards.items()} == {
        "good": "waiting", "off": "disabled", "denied": "denied", "proxied": "failed", "socket": "denied",
        "vsock": "failed"}
    assert all(forward["reason"] for forward in forwards.values())
    assert "udp" in forwards["proxied"]["reason"] and "[host] addresses" in forwards["denied"]["reason"]
    assert "port" in forwards["good"]["host"]
    assert all(refused(port) for port in range(8181, 8184))
    # disabled or not is the definition's word alone
    other.set_forwards("<forward name='off' guest-port='80' host-port='8181'/>")
    daemon.wait_forward(name="off", host_port=8181)
    other.set_forwards("<forward name='off' guest-port='80' host-port='8181' enabled='no'/>")
    daemon.wait_forward(name="off", state="disabled")
    wait_refused(8181)


# --- required: the start is refused


REQUIRED = "<vf:forward name='must' guest-port='80' host-port='8180' required='yes' on-busy='{}'/>"


def test_start_is_refused_when_a_required_port_is_taken(daemon, guest):
    other = guest("other", guests.forwards(REQUIRED.format("fail")), start=False)
    daemon.wait_forward(everything=True, name="must", state="inactive")
    with socket.create_server(("127.0.0.1", 8180)):
        with pytest.raises(libvirt.libvirtError) as caught:
            other.start()
        assert "8180 is in use by another program" in str(caught.value)
        assert "must" in str(caught.value)
        assert not other.domain.isActive()
    other.start_paused()
    daemon.wait_forward(name="must", host_port=8180)
    assert not refused(8180)
    # Its own port is no obstacle to itself, the next time.
    other.domain.destroy()
    other.start_paused()
    daemon.wait_forward(name="must", host_port=8180)


def test_required_port_may_move(daemon, guest):
    other = guest("other", guests.forwards(REQUIRED.format("next")), start=False)
    with socket.create_server(("127.0.0.1", 8180)):
        other.start_paused()
        daemon.wait_forward(name="must", host_port=8181)


def test_refused_start_gives_back_what_it_had(daemon, guest):
    other = guest("other", guests.forwards(
        "<vf:forward guest-port='80' host-port='8185'/>" + REQUIRED.format("fail")), start=False)
    with socket.create_server(("127.0.0.1", 8180)):
        with pytest.raises(libvirt.libvirtError):
            other.start()
    wait_refused(8185)


def test_required_and_not_served_by_this_version(daemon, guest):
    other = guest("other", guests.forwards(
        "<vf:forward guest-port='53' host-port='5353' transport='ssh' required='yes'/>"), start=False)
    with pytest.raises(libvirt.libvirtError) as caught:
        other.start()
    assert "ssh" in str(caught.value)


def test_reserved_port_is_nobody_elses(daemon, guest):
    """Between prepare and the domain's run the port is really bound."""
    others = [guest(name, guests.forwards(REQUIRED.format("fail")), start=False) for name in ("one", "two")]
    others[0].start_paused()
    with pytest.raises(libvirt.libvirtError) as caught:
        others[1].start()
    assert "8180" in str(caught.value)
    assert daemon.wait_forward(domain="one")["host"]["port"] == 8180


# --- watch


def test_watch(daemon, guest):
    """A life as one line of JSON for each change."""
    with Watch() as watch, Watch("--all") as everything:
        other = guest("other", guests.forwards("<vf:forward guest-port='80' host-port='8180'/>"), start=False)
        everything.wait("added", domain="other", state="inactive")
        other.start()
        first = watch.wait("added", domain="other")["forward"]
        assert first["uuid"] == other.uuid and first["host"]["port"] == 8180
        everything.wait("changed", domain="other", state="waiting")
        watch.wait("changed", domain="other", state="active", deadline=60)
        other.domain.destroy()
        watch.wait("removed", domain="other")
        wait.until(lambda: everything.events[-1]["forward"]["state"] == "inactive", "it is inactive again")
        other.close()
        everything.wait("removed", domain="other")
        assert watch.close() == everything.close() == 0
    mine = [event for event in watch.events if event["forward"]["domain"] == "other"]
    assert [event["event"] for event in mine if event["event"] != "changed"] == ["added", "removed"]
    assert all(event["forward"].get("reason") for event in mine if event["forward"]["state"] != "active")


def test_watch_says_when_the_daemon_goes(daemon):
    with Watch("--all") as watch:
        wait.until(lambda: watch.events, "it watches", 10)
        daemon.restart()
        wait.until(lambda: watch.over(), "it has ended", 10)
        assert watch.close() == 7
