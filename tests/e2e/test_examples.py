# SPDX-License-Identifier: LGPL-2.1-or-later
"""The examples for programs, as they are installed, against the real daemon and a guest with a web server."""
import os
import re
import subprocess

import pytest

from lab import wait

EXAMPLES = "/usr/share/doc/virt-forward/examples"
REFERENCE = "/usr/share/doc/virt-forward/org.virtforward1.rst"
PRIVATE = "unix:path=/run/virt-forward/bus.sock"
ANSWER = "answer: virt-forward lab guest web"


def run(*command, **environment):
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False, stdin=subprocess.DEVNULL,
                          env={**os.environ, **environment})
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module", autouse=True)
def bus(nothing_left_of_module):
    os.makedirs("/run/dbus", exist_ok=True)
    with open("/run/lab/bus.log", "ab") as log:
        process = subprocess.Popen(["dbus-daemon", "--system", "--nofork", "--nopidfile"], stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=log)
    try:
        # Before the daemon, which looks for it when it starts, and then not for a while.
        wait.until(lambda: os.path.exists("/run/dbus/system_bus_socket"), "the bus is there")
        yield
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def web(bus, shared_daemon, shared_guest):
    web = shared_guest("web")
    web.address()
    wait.until(lambda: run("busctl", "--system", "status", "org.virtforward1")[0] == 0, "the daemon is on the bus", 70)
    return web


@pytest.mark.parametrize("command, environment", [
    ((f"{EXAMPLES}/expose.py",), {}),
    ((f"{EXAMPLES}/expose.py",), {"VIRT_FORWARD_ADDRESS": PRIVATE}),
    ((f"{EXAMPLES}/expose-bus.sh",), {}),
    ((f"{EXAMPLES}/expose-private.sh",), {})])
def test_expose_use_and_take_back(shared_daemon, web, command, environment):
    status, out, error = run(*command, "web", "80", **environment)
    assert status == 0, error
    assert re.search(r"^port: [1-9]\d+$", out, re.M), out
    assert ANSWER in out and out.rstrip().endswith("removed"), out
    assert shared_daemon.forwards() == []
    if "private" in command[0]:
        assert "org.virtforward1.Error.InvalidArgument" in error and "99999" in error


def test_errors_have_names(web):
    status, _, error = run(f"{EXAMPLES}/expose.py", "nobody", "80")
    assert status == 1 and "error: org.virtforward1.Error.NoSuchDomain" in error
    status, _, error = run(f"{EXAMPLES}/expose.py", "web", "0")
    assert status == 1 and "error: org.virtforward1.Error.InvalidArgument" in error and "guest-port" in error


def test_the_reference_is_installed():
    with open(REFERENCE, encoding="utf-8") as file:
        page = file.read()
    for heading in ("org.virtforward1.Domain.AddForward", "org.virtforward1.Forward:HostPort"):
        assert f"\n{heading}\n{'^' * len(heading)}\n" in page
