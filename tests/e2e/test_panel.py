# SPDX-License-Identifier: LGPL-2.1-or-later
"""The panel with real machines. What it looks like and each of its controls: tests/panel, whose driver this uses."""
import os
import sys
import urllib.request

import pytest

from lab import guest as guests
from lab.programs import Cli
from lab.transfer import refused

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "panel"))
from session import Session  # noqa: E402

SHOP = guests.forwards("<vf:forward guest-port='80' host-port='8080' label='Shop'/>")


@pytest.fixture(scope="module")
def panels():
    """virt-forward-panel's driver. Its accessibility library looks for a session once."""
    os.makedirs("/run/lab/desktop", mode=0o700)
    os.environ.update({f"XDG_{name}": f"/run/lab/desktop/{name.lower()}" for name in
                       ("CONFIG_HOME", "DATA_HOME", "CACHE_HOME")}, XDG_RUNTIME_DIR="/run/lab/desktop")
    session = Session().start()
    import desktop
    desktop.Atspi.get_desktop(0).get_child_count()  # which starts its services
    yield desktop
    session.stop()


def served(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
        return answer.read().decode()


def test_a_machine_from_start_to_stop(panels, daemon, guest):
    web = guest("web", SHOP, start=False)
    guest("other", guests.forwards("<vf:forward guest-port='22' host-port='2222'/>"))
    with panels.Panel("--domain", "web") as panel:
        panel.wait(panels.Role.LABEL, part="Start “web”")
        panel.picture("guest-stopped")
        web.start()
        daemon.wait_forward(60, host_port=8080, state="active")
        said = ("Shop", "http://localhost:8080", f"port 80 on {web.address()}", "tcp", "Active")
        panels.until(lambda: all(word in panel.row("Shop").get_name() for word in said), f"the row says {said}")
        assert not panel.find(panels.Role.LIST_ITEM, part="Virtual machine other")
        assert "virt-forward lab guest web" in served(8080)

        web.run("http 8000")
        panel.select("web")
        panels.key("ctrl+n")
        panel.wait(panels.Role.FRAME, panels.Role.DIALOG, name="Add Forward")
        panels.key("alt+p")
        panels.type_text("8000")
        panels.key("alt+h")
        panels.type_text("8081")
        panels.key("Return")
        panel.row("localhost:8081")
        assert "virt-forward lab guest web" in served(8081)
        assert "8081" in Cli("list", "web").stdout

        panel.picture("guest-running")
        web.domain.destroy()
        panel.wait(panels.Role.LABEL, part="Start “web”")
        assert refused(8080) and refused(8081)
