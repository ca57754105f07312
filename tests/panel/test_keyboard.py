# SPDX-License-Identifier: LGPL-2.1-or-later
"""All of the panel without a mouse."""
import json
import socket

import pytest

from desktop import Panel, Role, clipboard, key
from machines import Daemon, Guest, machine
from session import until

WEB = """<vf:forward guest-port="80" host-port="8080" label="Shop"/>
  <vf:forward guest-port="81" host-port="8081" label="Blog"/><vf:auto enabled="yes"/>"""


@pytest.fixture(scope="module", name="daemon")
def a_machine():
    with Guest("web") as guest, Daemon(machine("web", WEB)) as daemon:
        guest.serve("nginx", 80)
        guest.serve("node", 3000, "127.0.0.1")
        daemon.wait_forward("node is forwarded", lambda one: one.get("process", {}).get("name") == "node")
        yield daemon


@pytest.fixture(name="panel")
def a_window(daemon):
    with Panel() as panel:
        panel.row("Shop")
        panel.row("node")
        yield panel


def at(panel, name):
    """The keyboard is there."""
    until(lambda: (panel.focused() and panel.focused().get_name()) == name, f"the keyboard is at {name}: {panel.focused()}")


def test_tab_goes_through_a_row_and_on(panel):
    panel.select("Shop")
    for name in ("Copy URL", "Open in Browser", "More Actions", "Copy URL"):
        key("Tab")
        at(panel, name)
    # Keys are for the row that has the keyboard now.
    key("ctrl+c")
    until(lambda: clipboard() == "localhost:8081", "the address of the next row is in the clipboard")
    key("Delete")
    panel.wait(Role.LABEL, name="Remove “Blog”?")
    key("Escape")
    panel.wait_gone(Role.LABEL, name="Remove “Blog”?")
    key("shift+Tab")
    at(panel, "More Actions")
    key("ctrl+c")
    until(lambda: clipboard() == "http://localhost:8080", "the address of the row is in the clipboard")


def test_a_row_s_menu(panel):
    panel.select("Shop")
    key("Tab", "Tab", "Tab")
    at(panel, "More Actions")
    key("space")
    panel.wait(Role.MENU_ITEM, name="Edit…")
    panel.picture("row-menu")
    key("Escape")
    panel.wait_gone(Role.MENU_ITEM, name="Edit…")
    key("space")
    panel.wait(Role.MENU_ITEM, name="Edit…")
    key("Return")
    panel.wait(Role.FRAME, Role.DIALOG, name="Edit Forward")
    key("Escape")
    panel.wait_gone(Role.FRAME, Role.DIALOG, name="Edit Forward")


def test_a_machine_s_switch_and_button(panel, daemon):
    def automatic():
        return json.loads(daemon.cli("auto", "web", "--json").stdout)["automatic"]

    panel.select("Virtual machine web")
    key("Tab")
    at(panel, "Automatic forwarding")
    key("space")
    until(lambda: not automatic(), "it is off")
    until(lambda: "Not forwarded" in panel.row("node").get_name(), "the port is not forwarded")
    key("space")
    until(automatic, "it is on")
    panel.row("localhost:3000")
    key("Tab")
    at(panel, "Add Forward")
    key("Return")
    panel.wait(Role.FRAME, Role.DIALOG, name="Add Forward")
    key("Escape")
    panel.wait_gone(Role.FRAME, Role.DIALOG, name="Add Forward")


def test_in_the_search_keys_are_the_entry_s(panel):
    panel.select("Shop")
    key("--delay", "0", "ctrl+f", "b", "l", "o", "g")  # before the next frame
    panel.wait_gone(Role.LIST_ITEM, part="Shop")
    key("ctrl+a", "ctrl+c")
    until(lambda: clipboard() == "blog", "the text is in the clipboard")
    key("Delete")
    panel.row("Shop")
    assert panel.lacks(Role.LABEL, part="Remove “")
    key("Escape")
    panel.wait_gone(Role.TEXT, name="Search forwards")


def test_the_keyboard_goes_with_a_row_that_changes(panel):
    """A port that is blocked is among those that are not forwarded, below the others."""
    panel.select("node")
    key("ctrl+b")
    until(lambda: "Blocked" in panel.row("node").get_name(), "it is blocked")
    until(lambda: panel.focused() and panel.focused().get_name().startswith("node"), "the keyboard is at its row")
    key("ctrl+b")
    panel.row("localhost:3000")
    until(lambda: panel.focused() and panel.focused().get_name().startswith("node"), "the keyboard is at its row")


def at_a_row(panel, part=""):
    """The name of the row that has the keyboard."""
    def found():
        node = panel.focused()
        return node and node.get_role() == Role.LIST_ITEM and part in node.get_name() and node.get_name()
    return until(found, f"the keyboard is at a row {part}")


@pytest.fixture(name="blog")
def a_row_that_goes(panel, daemon):
    """Selected, and gone; what brings it back."""
    panel.select("Blog")
    daemon.cli("remove", "web", "8081")
    panel.wait_gone(Role.LIST_ITEM, part="Blog")
    def add(check=True):
        daemon.cli("add", "web", "8081:81", "--label", "Blog", check=check)

    yield add
    add(check=False)


def test_the_keyboard_goes_back_to_a_row_that_comes_back(panel, blog):
    assert "Blog" not in at_a_row(panel), "a neighbour has it"
    blog()
    panel.row("Blog")
    at_a_row(panel, "Blog")


def test_the_keyboard_stays_where_somebody_has_gone(panel, blog):
    neighbour = at_a_row(panel)
    key("Up")
    until(lambda: at_a_row(panel) != neighbour, "the keyboard is at another row")
    here = at_a_row(panel)
    blog()
    panel.row("Blog")
    assert at_a_row(panel) == here


def test_a_forward_is_disabled_and_enabled(panel, daemon):
    def state():
        return next(one["state"] for one in json.loads(daemon.cli("list", "--all", "--json").stdout)
                    if one.get("label") == "Blog")

    panel.select("Blog")
    key("Tab", "Tab")
    at(panel, "More Actions")
    key("space")
    panel.wait(Role.MENU_ITEM, name="Disable")
    key("Down", "Return")
    panel.wait(Role.LABEL, name="Forward disabled")
    until(lambda: "Disabled" in panel.row("Blog").get_name(), "the row says it")
    assert state() == "disabled"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", 8081)).close()
    panel.picture("disabled")
    panel.select("Blog")
    key("Tab")
    at(panel, "Enable")
    key("space")
    panel.wait(Role.LABEL, name="Forward enabled")
    until(lambda: "Disabled" not in panel.row("Blog").get_name(), "the row says it")
    assert state() != "disabled"
    socket.create_connection(("127.0.0.1", 8081)).close()
    # The button is gone, and the keyboard still there.
    key("ctrl+d")
    until(lambda: "Disabled" in panel.row("Blog").get_name(), "it is disabled again")
    key("ctrl+d")
    until(lambda: "Disabled" not in panel.row("Blog").get_name(), "it is enabled again")


def test_the_window_s_own(panel):
    key("F10")
    panel.wait(Role.MENU_ITEM, part="Keyboard Shortcuts")
    key("Down", "Return")
    panel.wait(Role.LABEL, part="Shows and edits the port forwards")  # about
    key("Escape")
    panel.wait_gone(Role.LABEL, part="Shows and edits the port forwards")
    key("ctrl+w")
    until(lambda: not panel.windows(), "the window is closed")
