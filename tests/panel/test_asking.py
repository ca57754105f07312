# SPDX-License-Identifier: LGPL-2.1-or-later
"""Ports that a rule asks about: answered in the panel, and taken back there; beside the notifications of
virt-forward-notify, whose button opens the panel."""
import concurrent.futures
import socket

import pytest

from desktop import Panel, Role, key, walk
from machines import Daemon, Guest, machine
from notices import Notices
from session import until

ASK = "<vf:auto enabled='yes'><vf:rule action='ask'/></vf:auto>"


@pytest.fixture(name="asked")
def a_guest_that_asks():
    with Guest("web") as guest, Daemon(machine("web", ASK), machine("other")) as daemon:
        daemon.guest = guest
        yield daemon


def choose(panel, part, item):
    panel.press(panel.inside(panel.row(part), "More Actions"))
    panel.press(panel.wait(Role.MENU_ITEM, name=item))


def allow(panel, part):
    panel.press(panel.inside(panel.row(part), "Allow"))


def buttons(panel, part):
    return [node.get_name() for node in walk(panel.row(part)) if node.get_role() == Role.PUSH_BUTTON]


def refuses(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) != 0


def test_allows_and_takes_back(asked):
    node = asked.guest.serve("node", 3000, "127.0.0.1")
    with Panel() as panel:
        until(lambda: "Asks for permission" in panel.row("node").get_name(), "it is asked about")
        panel.picture("asking")
        assert refuses(3000)
        allow(panel, "node")
        until(lambda: "localhost:3000" in panel.row("node").get_name(), "it is forwarded")
        assert not refuses(3000)
        assert "Allow" not in buttons(panel, "node")
        choose(panel, "node", "Take Permission Back")
        until(lambda: "Asks for permission" in panel.row("node").get_name(), "it is asked about again")
        assert refuses(3000)
        choose(panel, "node", "Always Allow This Process")
        until(lambda: "localhost:3000" in panel.row("node").get_name(), "it is forwarded")
        asked.guest.serve("node", 3001, "127.0.0.1")
        panel.row("localhost:3001")
        asked.guest.serve("python", 3002, "127.0.0.1")
        until(lambda: "Asks for permission" in panel.row("python").get_name(), "the other is asked about")
        choose(panel, "localhost:3001", "Take Permission Back")
        panel.wait_gone(Role.LIST_ITEM, part="localhost:300")
        assert node.poll() is None


def test_is_answered_with_the_keyboard(asked):
    asked.guest.serve("node", 3000, "127.0.0.1")
    with Panel() as panel:
        panel.select("Asks for permission")
        key("Tab")
        until(lambda: panel.focused() and panel.focused().get_name() == "Allow", "the keyboard is at the button")
        key("space")
        until(lambda: "localhost:3000" in panel.row("node").get_name(), "it is forwarded")
        asked.guest.serve("python", 3001, "127.0.0.1")
        panel.select("python")
        key("ctrl+l")
        until(lambda: "localhost:3001" in panel.row("python").get_name(), "it is forwarded")


def test_beside_notifications(asked):
    with Notices(asked.address) as notices, Panel() as panel:
        panel.row("Virtual machine web")
        asked.guest.serve("node", 3000, "127.0.0.1")
        notices.wait("web: forward port 3000 of node?")
        choose(panel, "node", "Always Allow This Process")
        notices.wait("web: node, port 3000")
        until(lambda: notices.displayed() == 1, "the question is withdrawn")
        assert not refuses(3000)
        # What comes together is one notification, and its button shows it.
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda port: asked.guest.serve("node", port, "127.0.0.1"), (3001, 3002)))
        notices.wait("2 ports of web")
        notices.click("Show")
        panel.wait(Role.LABEL, name="web")  # the second window's subtitle
        assert len(panel.windows()) == 2
        assert panel.lacks(Role.LABEL, name="No Running Machines")
