# SPDX-License-Identifier: LGPL-2.1-or-later
"""The panel with real machines. What it looks like and each of its controls: tests/panel, whose walk this follows."""
import contextlib
import os
import subprocess
import urllib.request

import pytest

from lab import guest as guests
from lab.programs import Cli
from lab.transfer import refused

WALK = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "panel", "machine_walk.py")
DIRECTORY = "/run/lab/desktop"
SHOP = guests.forwards("<vf:forward guest-port='80' host-port='8080' label='Shop'/>")


class Walk:
    def __init__(self):
        os.makedirs(DIRECTORY, mode=0o700)
        names = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME")
        self._process = subprocess.Popen(
            ["unshare", "--pid", "--mount-proc", "--fork", "--kill-child=KILL", "--", "/usr/bin/python3", WALK],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=dict(os.environ, XDG_RUNTIME_DIR=DIRECTORY, **{name: f"{DIRECTORY}/{name}" for name in names}))

    def reach(self, name):
        assert self._process.stdout.readline() == name + "\n"

    def go(self, text=""):
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()

    def end(self):
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        return self._process.wait(60)


@pytest.fixture
def walk(nothing_left):
    one = Walk()
    yield one
    one.end()


def served(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
        return answer.read().decode()


def test_a_machine_from_start_to_stop(walk, daemon, guest):
    web = guest("web", SHOP, start=False)
    guest("other", guests.forwards("<vf:forward guest-port='22' host-port='2222'/>"))
    walk.reach("stopped")
    web.start()
    daemon.wait_forward(60, host_port=8080, state="active")
    walk.go(web.address())
    walk.reach("running")
    assert "virt-forward lab guest web" in served(8080)
    web.run("http 8000")
    walk.go()
    walk.reach("added")
    assert "virt-forward lab guest web" in served(8081)
    assert "8081" in Cli("list", "web").stdout
    web.domain.destroy()
    walk.go()
    walk.reach("gone")
    assert refused(8080) and refused(8081)
    walk.go()
    assert walk.end() == 0
