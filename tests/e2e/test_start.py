# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the command line says while the daemon has not read libvirt yet, or cannot."""
import contextlib
import os
import signal
import subprocess

import pytest

from lab import guest as guests
from lab import wait
from lab.programs import CLI, LOG, Cli, Daemon

SITE = "<vf:forward name='site' guest-port='80' host-port='8080'/>"
PRIVATE = "/run/virt-forward/bus.sock"


@pytest.fixture
def web(libvirtd, nothing_left):
    made = guests.Guest(libvirtd.connection, "web", guests.forwards(SITE))
    yield made
    made.close()


@contextlib.contextmanager
def daemon():
    """Only started: it may have read libvirt or not."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(LOG)
    running = Daemon().start()
    try:
        yield running
    finally:
        running.stop()
        running.check_log()


def clients():
    """How many are connected to the daemon's private socket."""
    with open("/proc/net/unix", encoding="ascii", errors="replace") as file:
        return sum(line.rstrip().endswith(f" 03 {line.split()[6]} {PRIVATE}") for line in file if PRIVATE in line)


@pytest.mark.parametrize("arguments, expected", [(("url", "web"), "http://127.0.0.1:8080\n"),
                                                 (("list", "web", "--json"), '"name":"site"')])
def test_a_daemon_that_starts_is_waited_for(libvirtd, web, arguments, expected):
    """libvirtd is held, so that the first reading takes as long as this test wants."""
    web.start_paused()
    held = libvirtd.pid()
    subprocess.run(["kill", "-STOP", str(held)], check=True)
    try:
        with daemon() as running:
            asking = subprocess.Popen([CLI, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            wait.until(clients, "the command line has asked")
            assert "connected to libvirt" not in running.log() and asking.poll() is None
            subprocess.run(["kill", "-CONT", str(held)], check=True)
            out, error = asking.communicate(timeout=30)
            assert (asking.returncode, error) == (0, "")
            assert expected in out
    finally:
        subprocess.run(["kill", "-CONT", str(held)], check=True)


def test_without_libvirt_the_truth_is_told(libvirtd, web):
    libvirtd.kill(signal.SIGKILL)
    try:
        with daemon():
            for arguments in (("list",), ("list", "--json"), ("add", "web", "81"), ("url", "web"), ("auto", "web")):
                said = Cli(*arguments, check=False)
                assert (said.status, said.stdout) == (7, ""), arguments
                assert "no connection to qemu:///system" in said.stderr and "libvirt-sock" in said.stderr, said.stderr
            asked = subprocess.run(["gdbus", "call", "--address", f"unix:path={PRIVATE}", "--dest",
                                    "org.virtforward1", "--object-path",
                                    "/org/virtforward1", "--method", "org.virtforward1.Manager.FindDomain", "web"],
                                   stderr=subprocess.PIPE, text=True, timeout=30, check=False)
            assert "org.virtforward1.Error.NoLibvirt" in asked.stderr and "libvirt-sock" in asked.stderr

            libvirtd.start()
            wait.until(lambda: Cli("list", "--all", check=False).status == 0, "it has connected")
            assert "site" in Cli("list", "--all").stdout
            assert Cli("url", "nobody", check=False).status == 3

            # What was known stands.
            libvirtd.kill(signal.SIGKILL)
            wait.until(lambda: "what it shows may be old" in Cli("list", "--all").stderr, "it has noticed")
            assert "site" in Cli("list", "--all").stdout
            unknown = Cli("url", "nobody", check=False)
            assert unknown.status == 7 and "not known" in unknown.stderr
            libvirtd.start()
            wait.until(lambda: Cli("list", "--all").stderr == "", "it is back")
    finally:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            libvirtd.pid()
        if not _answers():
            libvirtd.start()


def _answers():
    return subprocess.run(["virsh", "-q", "list"], capture_output=True, timeout=30, check=False).returncode == 0
