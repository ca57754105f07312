# SPDX-License-Identifier: LGPL-2.1-or-later
"""A walk through the panel of one machine, for tests/e2e/test_panel.py: after each step it says its name and waits for a
line. A process of its own, since libvirt's event loop would carry on the accessibility library's from another thread."""
from session import Session, until

SESSION = Session().start()

from desktop import Panel, Role, key, type_text  # noqa: E402


def step(name):
    print(name, flush=True)
    return input()


with Panel("--domain", "web") as panel:
    panel.wait(Role.LABEL, part="Start “web”")
    panel.picture("guest-stopped")
    address = step("stopped")
    said = ("Shop", "http://localhost:8080", f"port 80 on {address}", "tcp", "Active")
    until(lambda: all(word in panel.row("Shop").get_name() for word in said), f"the row says {said}")
    assert panel.lacks(Role.LIST_ITEM, part="Virtual machine other")
    step("running")
    panel.select("web")
    key("ctrl+n")
    panel.wait(Role.FRAME, Role.DIALOG, name="Add Forward")
    type_text("8000")
    key("alt+h")
    type_text("8081")
    key("Return")
    panel.row("localhost:8081")
    panel.picture("guest-running")
    step("added")
    panel.wait(Role.LABEL, part="Start “web”")
    step("gone")
SESSION.stop()
