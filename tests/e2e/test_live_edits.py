# SPDX-License-Identifier: LGPL-2.1-or-later
"""Definitions that change while the domain runs, as people change them: virsh metadata, virsh define, our CLI."""
import subprocess

import pytest

from lab import guest as guests
from lab import wait
from lab.programs import Cli, Watch
from lab.transfer import Echo, assert_served, refused, wait_refused

WEB = "<forward guest-port='80' host-port='8080'/>"
ECHO = "<forward name='echo' guest-port='7' host-port='7070'/>"


@pytest.fixture(scope="module")
def daemon(shared_daemon):
    return shared_daemon


@pytest.fixture(scope="module")
def booted(daemon, shared_guest):
    web = shared_guest("web")
    web.run("listen 7 cat")
    return web


@pytest.fixture
def web(daemon, booted):
    """A running guest without forwards; what a test defines is gone after it."""
    yield booted
    for flag in ("--live", "--config"):
        subprocess.run(["virsh", "-q", "metadata", "web", guests.NAMESPACE, "--remove", flag], capture_output=True)
    wait.until(lambda: not daemon.forwards("web", everything=True), "all forwards are gone")


def virsh(*arguments):
    done = subprocess.run(["virsh", "-q", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def set_metadata(body, *flags, domain="web"):
    virsh("metadata", domain, guests.NAMESPACE, "--key", "vf", "--set", f"<forwards>{body}</forwards>",
          *(flags or ["--live"]))


def test_added_and_removed(daemon, web):
    assert refused(8080)
    set_metadata(WEB)
    assert_served(8080, "web")
    virsh("metadata", "web", guests.NAMESPACE, "--remove", "--live")
    wait_refused(8080)
    wait.until(lambda: not daemon.forwards(), "no forward is listed")


def test_sibling_is_left_alone(daemon, web):
    set_metadata(ECHO)
    daemon.wait_forward(name="echo", state="active")
    with Echo(7070) as echo:
        echo.say()
        set_metadata(ECHO + WEB)
        assert_served(8080, "web")
        set_metadata(ECHO)
        wait_refused(8080)
        echo.say()


def test_port_changed(daemon, web):
    set_metadata(WEB)
    assert_served(8080, "web")
    set_metadata(WEB.replace("8080", "8081"))
    assert_served(8081, "web")
    wait_refused(8080)
    # also for one with a name, that is, the same identity as before
    set_metadata(ECHO)
    daemon.wait_forward(name="echo", host_port=7070)
    set_metadata(ECHO.replace("7070", "7071"))
    daemon.wait_forward(name="echo", host_port=7071, state="active")
    wait_refused(7070)
    with Echo(7071) as echo:
        echo.say()


def test_guest_port_changed(daemon, web):
    set_metadata(ECHO)
    with Echo(daemon.wait_forward(name="echo", state="active")["host"]["port"]) as echo:
        echo.say()
    set_metadata(ECHO.replace("'7'", "'80'"))
    assert_served(7070, "web")


def test_label_changed_cuts_nothing(daemon, web):
    set_metadata(ECHO)
    daemon.wait_forward(name="echo", state="active")
    with Echo(7070) as echo:
        echo.say()
        daemon.wait_proven()
    with Echo(7070) as echo, Watch() as watch:
        echo.say()
        watch.wait("added", name="echo")
        set_metadata(ECHO.replace("/>", " label='a &lt;new&gt; one'/>"))
        watch.wait("changed", name="echo", label="a <new> one")
        assert [event["event"] for event in watch.events] == ["added", "changed"]
        echo.say()
        # the way stays the same by another word
        set_metadata(ECHO.replace("/>", " label='a &lt;new&gt; one' transport='tcp' scheme='echo'/>"))
        watch.wait("changed", url="echo://127.0.0.1:7070")
        echo.say()


def test_host_address_changed(daemon, web):
    set_metadata(WEB)
    assert_served(8080, "web")
    for address, other in (("127.0.0.1", "::1"), ("::1", "127.0.0.1"), ("127.0.0.2", "127.0.0.1")):
        set_metadata(f"<forward guest-port='80' host-port='8080' host-address='{address}'/>")
        wait.until(lambda: refused(8080, other) and not refused(8080, address), f"only {address} listens")
        forward = daemon.wait_forward(host_port=8080, state="active")
        assert forward["host"]["addresses"] == [address]


def test_config_alone_is_for_the_next_start(daemon, guest):
    other = guest("other", start=False).start_paused()
    set_metadata("<forward guest-port='80' host-port='8180'/>", "--config", domain="other")
    wait.until(lambda: daemon.forwards("other", everything=True), "list --all shows it")
    [forward] = daemon.forwards("other", everything=True)
    assert forward["state"] == "inactive"
    assert "next start" in forward["reason"]
    assert daemon.forwards("other") == []
    assert refused(8180)
    other.domain.destroy()
    other.start_paused()
    daemon.wait_forward(domain="other", host_port=8180)
    assert not refused(8180)


def test_virsh_define(daemon, guest, tmp_path):
    other = guest("other", start=False).start_paused()

    def define(metadata):
        xml = other.xml.replace("<metadata></metadata>", f"<metadata>{metadata}</metadata>")
        (tmp_path / "other.xml").write_text(xml)
        virsh("define", str(tmp_path / "other.xml"))

    define(guests.forwards("<vf:forward guest-port='80' host-port='8180'/>"))
    wait.until(lambda: daemon.forwards("other", everything=True), "list --all shows it")
    assert daemon.forwards("other") == []
    assert refused(8180)
    define("")
    wait.until(lambda: not daemon.forwards("other", everything=True), "list --all shows it no longer")
    define(guests.forwards("<vf:forward guest-port='80' host-port='8181'/>"))
    other.domain.destroy()
    other.start_paused()
    daemon.wait_forward(domain="other", host_port=8181)


def test_removal_cuts_connections(daemon, web):
    set_metadata(WEB + ECHO)
    daemon.wait_forward(name="echo", state="active")
    with Echo(7070) as echo, Echo(7070, "::1") as echo6:
        echo.say()
        echo6.say()
        set_metadata(WEB)
        assert echo.ended() == echo6.ended() == "reset"
    wait_refused(7070)
    assert_served(8080, "web")


def test_drain_lets_connections_end(daemon, web):
    set_metadata(ECHO)
    daemon.wait_forward(name="echo", state="active")
    with Echo(7070) as echo:
        echo.say()
        Cli("remove", "--drain", "web", "echo")
        wait_refused(7070)
        assert daemon.forwards() == []
        echo.say(b"x" * 100_000)
        # even when the same forward comes back and goes again
        set_metadata(ECHO)
        with Echo(daemon.wait_forward(name="echo", state="active")["host"]["port"]) as again:
            again.say()
            echo.say()
            Cli("remove", "web", "echo")
            assert again.ended() == "reset"


def test_same_metadata_again_changes_nothing(daemon, web):
    set_metadata(WEB + ECHO)
    assert_served(8080, "web")
    with Echo(7070) as echo:
        echo.say()
        daemon.wait_proven()
    with Echo(7070) as echo, Watch() as watch:
        echo.say()
        wait.until(lambda: len(watch.events) == 2, "both forwards are told")
        before = daemon.log()
        for _ in range(10):
            set_metadata(WEB + ECHO)
        set_metadata("<!-- the same in other words -->" + ECHO.replace("/>", " enabled='yes'/>") + WEB)
        set_metadata(WEB + ECHO)
        # what is told next must be this
        set_metadata(WEB + ECHO + "<forward name='last' guest-port='9' host-port='9999'/>")
        watch.wait("added", name="last")
        assert {event["forward"].get("name") for event in watch.events[2:]} == {"last"}, watch.events
        new = daemon.log()[len(before):].splitlines()
        assert new and all("forward=last" in line for line in new), new
        echo.say()


def test_add_and_remove_by_command_line(daemon, web):
    done = Cli("add", "web", "8085:80")
    assert done.stdout == "8085\n"
    assert "--persistent" in done.stderr
    assert_served(8085, "web")
    assert "guest-port" in virsh("metadata", "web", guests.NAMESPACE, "--live")
    assert "8085" not in virsh("dumpxml", "--inactive", "web")
    assert Cli("url", "web").stdout == "http://127.0.0.1:8085\n"
    Cli("remove", "web", "8085")
    assert refused(8085) and refused(8085, "::1")

    done = Cli("add", "--persistent", "--name", "kept", "web", "80")
    port = int(done.stdout)
    assert_served(port, "web")
    assert "kept" in virsh("dumpxml", "--inactive", "web")
    Cli("remove", "--persistent", "web", "kept")
    assert "kept" not in virsh("dumpxml", "--inactive", "web") + virsh("dumpxml", "web")
    assert refused(port)


def test_disabled_and_enabled_by_command_line(daemon, web):
    """A disabled one ends with its connections, keeps its definition, and comes back as it was."""
    Cli("add", "--persistent", "web", "7070:7", "--name", "echo", "--label", "says it again")
    daemon.wait_forward(name="echo", state="active")
    with Echo(7070) as echo:
        echo.say()
        done = Cli("disable", "web", "7070")
        assert done.stdout == "" and "enabled again at the next start" in done.stderr
        assert echo.ended() == "reset"
    assert refused(7070)
    assert daemon.wait_forward(name="echo", state="disabled")["label"] == "says it again"
    assert 'enabled="no"' in virsh("metadata", "web", guests.NAMESPACE, "--live").replace("'", '"')
    assert "enabled" not in virsh("metadata", "web", guests.NAMESPACE, "--config")
    assert "127.0.0.1:7070" in Cli("list", "web").stdout

    assert Cli("enable", "web", "echo").stdout == "7070\n"
    daemon.wait_forward(name="echo", state="active")
    with Echo(7070) as echo:
        echo.say()
        done = Cli("disable", "web", "echo", "--config")
        assert done.stdout + done.stderr == ""
        echo.say()
    done = Cli("enable", "web", "echo", "--persistent")
    assert (done.stdout, done.stderr) == ("7070\n", "")
    assert "enabled" not in virsh("dumpxml", "--inactive", "web")


def test_what_other_tools_wrote_is_kept(daemon, web):
    virsh("metadata", "web", "urn:other", "--key", "o", "--set", "<thing a='1'/>", "--live")
    set_metadata("<!-- ours? --><forward name='echo' guest-port='7' host-port='7070'/>")
    daemon.wait_forward(name="echo", state="active")
    Cli("add", "web", "8085:80")
    Cli("remove", "web", "8085")
    assert "<!-- ours? -->" in virsh("metadata", "web", guests.NAMESPACE, "--live")
    assert "a='1'" in virsh("metadata", "web", "urn:other", "--live").replace('"', "'")
    virsh("metadata", "web", "urn:other", "--remove", "--live")
