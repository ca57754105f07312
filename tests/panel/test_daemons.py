# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two daemons at once, as a desktop has them, and what a daemon cannot tell."""
import os
import signal
import socket

from desktop import Panel, Role, key
from machines import Daemon, machine
from session import until

SYSTEM = "/run/virt-forward"
WEB = '<vf:forward guest-port="80" host-port="{}" label="{}"/>'


def test_both_are_shown_and_told_apart():
    with Daemon(machine("web", WEB.format(8080, "Shop")), runtime=SYSTEM) as system, Panel() as panel:
        panel.row("Shop")
        assert "System" not in panel.row("Virtual machine web").get_name(), "nothing to tell apart"
        with Daemon(machine("web", WEB.format(9090, "Blog"))) as session:
            panel.row("Blog")
            panel.row("Shop")
            panel.row("Virtual machine web · System")
            panel.row("Virtual machine web · Session")
            panel.picture("two-daemons")
            panel.press(panel.inside(panel.row("Virtual machine web · Session"), "Add Forward"))
            panel.wait(Role.FRAME, Role.DIALOG, name="Add Forward")
            panel.wait(Role.LABEL, name="web (Session)")
            key("Escape")
            panel.wait_gone(Role.LABEL, name="web (Session)")
            panel.select("Blog")
            key("Delete")
            panel.wait(Role.LABEL, name="Remove “Blog”?")
            key("Return")
            panel.wait_gone(Role.LIST_ITEM, part="Blog")
            assert not session.forwards()
            assert [one["label"] for one in system.forwards()] == ["Shop"], "the other's is left alone"
        panel.wait_gone(Role.LIST_ITEM, part="Session")
        panel.row("Shop")


def test_what_is_not_counted_is_not_shown():
    forwards = WEB.format(8080, "Counted") + '<vf:forward guest-port="81" host-port="8081" label="Off" enabled="no"/>'
    with Daemon(machine("web", forwards)) as daemon, Panel() as panel:
        with socket.create_connection(("127.0.0.1", 8080)):
            pass
        until(lambda: " open" in panel.row("Counted").get_name(), "connections are counted")
        assert " open" not in panel.row("Off").get_name()
        relays = daemon.relays()
        for pid in relays:
            os.kill(pid, signal.SIGSTOP)  # nobody can say now
        try:
            until(lambda: " open" not in panel.row("Counted").get_name(), "what was counted is not shown any more", 30)
        finally:
            for pid in relays:
                os.kill(pid, signal.SIGCONT)
        until(lambda: " open" in panel.row("Counted").get_name(), "connections are counted again", 30)
