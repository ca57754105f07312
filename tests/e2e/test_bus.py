# SPDX-License-Identifier: LGPL-2.1-or-later
"""The installed daemon on a real system bus with the real polkitd, and on its private socket.

alice is an ordinary user, bob is in the group libvirt; neither has a session.
"""
import contextlib
import os
import pwd
import stat
import subprocess

import pytest

from lab import host, programs, wait

NAME = "org.virtforward1"
ROOT = "/org/virtforward1"
PRIVATE = "/run/virt-forward/bus.sock"
POLKITD = "/usr/lib/polkit-1/polkitd"
POLKIT_ACTIVATION = "/usr/share/dbus-1/system-services/org.freedesktop.PolicyKit1.service"


def run(*command, user=None):
    """(exit status, standard output, standard error) of a program run by `user`, with the groups of an own login."""
    who = {}
    if user:
        account = pwd.getpwnam(user)
        who = dict(user=account.pw_uid, group=account.pw_gid,
                   extra_groups=os.getgrouplist(user, account.pw_gid))
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=30, check=False,
                          stdin=subprocess.DEVNULL, **who)
    return done.returncode, done.stdout, done.stderr


def call(path, method, *arguments, user=None):
    """gdbus, since it shows the names of errors."""
    return run("gdbus", "call", "--system", "--dest", NAME, "--object-path", path, "--method", f"{NAME}.{method}",
               *arguments, user=user)


def owned(name):
    return run("busctl", "--system", "status", name)[0] == 0


@contextlib.contextmanager
def program(*command):
    with open("/run/lab/bus.log", "ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def system_bus():
    """A dbus-daemon that reads the installed policy."""
    with program("dbus-daemon", "--system", "--nofork", "--nopidfile"):
        wait.until(lambda: owned("org.freedesktop.DBus"), "the system bus is up")
        yield


@contextlib.contextmanager
def polkit():
    with program(POLKITD, "--no-debug"):
        wait.until(lambda: owned("org.freedesktop.PolicyKit1"), "polkitd is up")
        yield


@pytest.fixture(scope="module", autouse=True)
def accounts():
    subprocess.run(["groupadd", "-f", "libvirt"], check=True)
    subprocess.run(["useradd", "-M", "alice"], check=True)
    subprocess.run(["useradd", "-M", "-G", "libvirt", "bob"], check=True)
    os.makedirs("/run/dbus", exist_ok=True)
    # polkit is there when a test starts it, and not because somebody asked for it
    os.unlink(POLKIT_ACTIVATION)


@pytest.fixture
def bus(nothing_left):
    with system_bus():
        yield


@pytest.fixture
def served(bus, daemon, guest):
    """The daemon on the bus, with a domain "web" that does not run; gives the domain's object path."""
    guest("web", start=False)
    wait.until(lambda: owned(NAME), "virt-forwardd owns its name")

    def found():
        status, out, _ = call(ROOT, "Manager.FindDomain", "web")
        return status == 0 and out.split("'")[1]

    return wait.until(found, "the daemon knows the domain")


ADD = ("{'guest-port': '80', 'name': 'www'}", "{'config': <true>}")
REMOVE = ("www", "{'config': <true>}")


def test_polkit_decides(served):
    with polkit():
        # root
        assert call(served, "Domain.AddForward", *ADD)[0] == 0
        assert call(served, "Domain.RemoveForward", *REMOVE)[0] == 0

        # group libvirt, by 60-virt-forward.rules
        status, out, error = call(ROOT, "Manager.FindDomain", "web", user="bob")
        assert (status, served in out) == (0, True), error
        status, out, error = call(served, "Domain.AddForward", *ADD, user="bob")
        assert status == 0, error
        assert "/org/virtforward1/forward/" in out

        # anybody else
        for method, arguments, action in (("Domain.AddForward", ADD, "add"), ("Domain.RemoveForward", REMOVE, "remove")):
            status, _, error = call(served, method, *arguments, user="alice")
            assert status != 0
            assert f"{NAME}.Error.NotAllowed" in error
            assert f"uid {pwd.getpwnam('alice').pw_uid} may not" in error
            assert f"{NAME}.{action}" in error and "libvirt" in error
        status, _, error = call(ROOT, "Manager.FindDomain", "web", user="alice")
        assert status != 0 and f"{NAME}.read" in error
        assert "virt-forward" in run("virsh", "dumpxml", "--inactive", "web")[1], "what bob added is still there"

        assert call(served, "Domain.RemoveForward", *REMOVE, user="bob")[0] == 0


def test_command_line_says_not_allowed(served):
    with polkit():
        status, out, error = run(programs.CLI, "--connect", "qemu:///system", "list", "--all", user="alice")
        assert status == 6, (out, error)
        assert "libvirt" in error
        assert run(programs.CLI, "--connect", "qemu:///system", "list", "--all", user="bob")[0] == 0


def test_without_polkit_only_root(served):
    assert call(served, "Domain.AddForward", *ADD)[0] == 0
    assert call(served, "Domain.RemoveForward", *REMOVE)[0] == 0
    status, _, error = call(ROOT, "Manager.FindDomain", "web", user="bob")
    assert status != 0
    assert f"{NAME}.Error.NotAllowed" in error and "polkit" in error


def test_nobody_takes_the_name(bus, daemon):
    wait.until(lambda: owned(NAME), "virt-forwardd owns its name")
    daemon.stop()
    wait.until(lambda: not owned(NAME), "the name is free")
    status, _, error = run("gdbus", "call", "--system", "--dest", "org.freedesktop.DBus", "--object-path",
                           "/org/freedesktop/DBus", "--method", "org.freedesktop.DBus.RequestName", NAME, "0",
                           user="alice")
    assert status != 0 and "AccessDenied" in error


def test_bus_that_dies_comes_back(nothing_left, daemon):
    with system_bus():
        wait.until(lambda: owned(NAME), "virt-forwardd found the bus that came late", 70)
    with system_bus():
        wait.until(lambda: owned(NAME), "virt-forwardd found the new bus")
    assert daemon.running


def test_private_socket(daemon, guest):
    guest("web", start=False)
    mode = os.stat(PRIVATE)
    assert (stat.S_IMODE(mode.st_mode), mode.st_uid) == (0o600, 0)
    address = f"--address=unix:path={PRIVATE}"

    def found():
        status, out, _ = run("busctl", address, "call", NAME, ROOT, f"{NAME}.Manager", "FindDomain", "s", "web")
        return status == 0 and out.split('"')[1]

    domain = wait.until(found, "the daemon knows the domain")
    status, out, error = run("busctl", address, "call", NAME, domain, f"{NAME}.Domain", "AddForward", "a{ss}a{sv}", "2",
                             "guest-port", "80", "name", "www", "1", "config", "b", "true")
    assert status == 0, error
    forward = out.split('"')[1]
    assert forward in run("busctl", address, "tree", NAME)[1]
    status, out, error = run("busctl", address, "introspect", NAME, forward)
    assert status == 0 and '"www"' in out, error
    assert run("busctl", address, "call", NAME, forward, f"{NAME}.Forward", "Remove", "a{sv}", "1",
               "config", "b", "true")[0] == 0
    wait.until(lambda: forward not in run("busctl", address, "tree", NAME)[1], "the forward is gone")
    for user in ("alice", "bob"):
        assert run("busctl", address, "tree", NAME, user=user)[0] != 0


def test_second_daemon_leaves_the_first_alone(daemon):
    second = subprocess.run([programs.DAEMON, "--relay="], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            timeout=30, check=False)
    assert second.returncode == 1, second.stdout
    assert daemon.running
    assert run("busctl", f"--address=unix:path={PRIVATE}", "tree", NAME)[0] == 0
    assert host.alive(daemon.pid)
