# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures of the end-to-end tests. Every file here runs in a lab of its own:

    tests/e2e/lab/enter --stage DIR -- /usr/bin/python3 -m pytest tests/e2e/test_lab.py
"""
import contextlib
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lab import agents, findings, host, leaks, programs, ssh  # noqa: E402
from lab import guest as guests  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "causes(id, ...): the doctor reports these findings in the test")


def pytest_sessionstart(session):
    # These tests end processes and change firewalls: never on a real host.
    if os.environ.get("VF_LAB_DIR") != "/run/lab" or not os.path.ismount("/run") or not os.path.isdir("/run/lab"):
        pytest.exit("the end-to-end tests run in tests/e2e/lab/enter only (or ctest -L e2e)", 2)


@pytest.fixture(scope="session")
def libvirtd():
    """The lab's libvirtd (host.Libvirtd)."""
    return host.Libvirtd()


@pytest.fixture
def connection(libvirtd):
    """A libvirt connection."""
    return libvirtd.connection


@pytest.fixture
def events(connection):
    """libvirt's events from here on (host.Events)."""
    recorder = host.Events(connection)
    yield recorder
    recorder.close()


def _nothing_left(libvirtd):
    libvirtd.connection  # made here, so that its thread and sockets count as "before"
    before = leaks.Snapshot()
    yield
    leaks.check(before)


def _daemon(*arguments):
    if os.path.exists(programs.LOG):
        os.unlink(programs.LOG)
    running = programs.Daemon(*arguments).start()
    try:
        running.wait_connected()
        yield running
    finally:
        try:
            running.stop()
            running.check_log()
        finally:
            print(running.log())  # shown by pytest when this failed


def _guests(request, libvirtd, running):
    idle = leaks.settled() if running else None
    made = []

    def make(name="guest", metadata="", interfaces=None, *, start=True, **options):
        new = guests.Guest(libvirtd.connection, name, metadata, interfaces, **options)
        made.append(new)
        if start:
            new.start()
        return new

    yield make
    failed = getattr(request.node, "failed", False)
    with contextlib.ExitStack() as closing:  # one that fails must not keep the others
        for one in made:
            if failed:
                print(f"--- console of {one.name}\n{one.console()}")
            closing.callback(one.close)
    if running is not None and running.running:
        running.end_idle_ssh()
        leaks.check(idle)


@pytest.fixture(autouse=True)
def nothing_left(libvirtd):
    """Set up first and so torn down last: after guests, daemon and relay are gone nothing may be left."""
    yield from _nothing_left(libvirtd)


@pytest.fixture
def daemon(nothing_left):
    """virt-forwardd and its relay, running (programs.Daemon)."""
    yield from _daemon()


@pytest.fixture
def guest(request, libvirtd, nothing_left):
    """Makes guests: guest(name=..., metadata=..., interfaces=[...], start=True, **guests.Guest's options).

    They are gone when the test ends. If the test has a daemon, that must then be as it was before the
    first guest: no listener, connection, descriptor, rule or file more.
    """
    running = request.getfixturevalue("daemon") if "daemon" in request.fixturenames else None
    yield from _guests(request, libvirtd, running)


@pytest.fixture
def ssh_key():
    """For guest(ssh=...) (ssh.Key)."""
    return ssh.Key()


@pytest.fixture
def stand_in(guest, daemon):
    """stand_in(metadata, name="web") -> a paused domain, and a network namespace with an agent that plays
    its guest (agents.StandIn). For files whose daemon has agents.DAEMON_OPTIONS."""
    with contextlib.ExitStack() as closing:
        def make(metadata, name="web"):
            domain = guest(name, metadata, start=False)
            inside = closing.enter_context(agents.StandIn(domain.uuid, name)).start_agent()
            return domain.start_paused(), inside

        yield make


@pytest.fixture(autouse=True)
def caused(request):
    """A test has caused the findings that it says it causes."""
    findings.reported.clear()
    yield
    if not getattr(request.node, "failed", False):
        wanted = {one for mark in request.node.iter_markers("causes") for one in mark.args}
        assert wanted <= findings.reported


# For files whose tests share a daemon and guests, to boot less: what a test adds must be gone after it,
# and the shared ones leave nothing either.

@pytest.fixture(scope="module")
def nothing_left_of_module(libvirtd):
    yield from _nothing_left(libvirtd)


@pytest.fixture(scope="module")
def shared_daemon(nothing_left_of_module):
    """Like daemon, for all tests of a file; let a fixture `daemon` of the file return it."""
    yield from _daemon()


@pytest.fixture(scope="module")
def shared_guest(request, libvirtd, shared_daemon):
    """Like guest, for guests that live as long as the file's tests."""
    yield from _guests(request, libvirtd, shared_daemon)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Lets fixtures know at teardown that the test failed, and shows what libvirtd, QEMU and a shared
    daemon logged."""
    outcome = yield
    report = outcome.get_result()
    if call.when == "setup":
        item.began = call.start
    if report.failed:
        report.sections.append(("libvirtd and QEMU", host.logs(item.began)))
    if call.when == "call":
        item.failed = report.failed
        if report.failed and "shared_daemon" in item.fixturenames:
            report.sections.append(("virt-forwardd", programs.Daemon.log()))
