# SPDX-License-Identifier: LGPL-2.1-or-later
"""A thousand forwards in the list: no more widgets than it has with a few hundred, and the last is reached.
tests/bench/panel has the frames."""
from desktop import LISTS, Panel, Role, key, xdotool
from machines import Daemon, machine

MANY = 1000
MOST_WIDGETS = 300
WHEEL_DOWN = "5"


def widgets(panel):
    """How many rows have widgets."""
    return panel.wait(Role.LIST, name=LISTS[0]).get_child_count()


def test_the_wheel_gets_to_the_last_row():
    with Daemon(machine("many")) as daemon:
        daemon.cli("add", "many", f"20000-{19999 + MANY}:1000-{999 + MANY}", "--persistent")
        assert len(daemon.forwards()) == MANY
        with Panel() as panel:
            panel.row("localhost:20000")
            assert widgets(panel) < MOST_WIDGETS
            xdotool("mousemove", "500", "400")
            for _ in range(12):
                xdotool("click", "--repeat", "100", "--delay", "4", WHEEL_DOWN)
            panel.wait(Role.LIST_ITEM, part=f"localhost:{19999 + MANY}", deadline=60)
            panel.picture("thousand")
            assert widgets(panel) < MOST_WIDGETS
            # One more is shown where it belongs, and one less is gone.
            daemon.cli("add", "many", "21999:3000")
            xdotool("click", "--repeat", "100", "--delay", "4", WHEEL_DOWN)
            panel.wait(Role.LIST_ITEM, part="localhost:21999", deadline=60)
            daemon.cli("remove", "many", "21999")
            panel.wait_gone(Role.LIST_ITEM, part="localhost:21999", deadline=60)
            key("F10")  # it still answers
            panel.wait(Role.MENU_ITEM, part="Keyboard Shortcuts")
            key("Escape")
