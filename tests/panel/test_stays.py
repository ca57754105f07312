# SPDX-License-Identifier: LGPL-2.1-or-later
"""What somebody is at stays as it is while other rows come and go."""
import pytest

from desktop import Atspi, Panel, Role, key, xdotool
from machines import Daemon, machine
from session import until

WEB = "".join(f'<vf:forward guest-port="{8000 + i}" host-port="{18000 + i}" label="Service {i}"/>' for i in range(30))
# Of the machine above, and of the same above and below.
OTHERS = (("another", 17000), ("web", 17001), ("web", 19000))
WHEEL_DOWN = "5"


@pytest.fixture(name="daemon")
def two_machines():
    with Daemon(machine("another"), machine("web", WEB)) as daemon:
        yield daemon


@pytest.fixture(name="panel")
def a_window(daemon):
    with Panel() as panel:
        panel.row("Service 3 ")
        yield panel


def each_change(panel, daemon):
    """Rows come, and rows go: a turn when the list shows each."""
    for domain, port in OTHERS:
        daemon.cli("add", domain, f"{port}:{port}")
        panel.row(f"localhost:{port}")
        yield
    for domain, port in OTHERS:
        daemon.cli("remove", domain, str(port))
        panel.wait_gone(Role.LIST_ITEM, part=f"localhost:{port}")
        yield


def test_the_keyboard_stays_at_a_button(panel, daemon):
    panel.select("Service 3 ")
    row = panel.focused()
    key("Tab")
    until(lambda: panel.focused() and panel.focused().get_role() == Role.PUSH_BUTTON, "the keyboard is at a button")
    button = panel.focused()
    for _ in each_change(panel, daemon):
        assert panel.focused() == button
        assert panel.row("Service 3 ") == row
    key("Delete")  # and the row is still the one that is meant
    panel.wait(Role.LABEL, name="Remove “Service 3”?")
    key("Escape")


def test_a_menu_stays_open(panel, daemon):
    panel.press(panel.inside(panel.row("Service 3 "), "More Actions"))
    entry = panel.wait(Role.MENU_ITEM, name="Edit…")
    for _ in each_change(panel, daemon):
        assert panel.find(Role.MENU_ITEM, name="Edit…") == entry
    panel.press(entry)
    panel.wait(Role.FRAME, Role.DIALOG, name="Edit Forward")
    key("Escape")


def test_what_is_looked_at_stays_in_its_place(panel, daemon):
    def place():
        return Atspi.Component.get_extents(row, Atspi.CoordType.WINDOW).y

    xdotool("mousemove", "500", "400")
    xdotool("click", "--repeat", "12", "--delay", "20", WHEEL_DOWN)
    row = panel.row("Service 20 ")
    before = [place()]

    def rests():
        last, before[0] = before[0], place()
        return last == before[0] and 0 < last < 600

    until(rests, "it is in sight, and the list at rest")
    for _ in each_change(panel, daemon):
        assert place() == before[0]
