# SPDX-License-Identifier: LGPL-2.1-or-later
"""The panel with a daemon that has machines, forwards and guests."""
import ast
import json
import os
import pathlib
import socket
import subprocess

import pytest

from desktop import Panel, Role, clipboard, key, type_text
from machines import Daemon, Guest, machine, uuid_of
from session import until

WEB = """<vf:forward guest-port="80" host-port="8080" label="Web shop"/>
  <vf:forward guest-port="5432" host-port="15432" on-busy="fail"/><vf:auto enabled="yes"/>"""
GUEST_PORT, HOST_PORT, LABEL, SPAN, ADDRESS, WAY = "p", "h", "l", "k", "d", "w"  # mnemonics


@pytest.fixture(scope="module")
def daemon():
    with Guest("web") as guest, Daemon(machine("web", WEB), machine("build-01")) as daemon:
        daemon.guest = guest
        guest.serve("nginx", 80)
        guest.serve("node", 3000, "127.0.0.1")
        daemon.wait_forward("node is forwarded", lambda one: one.get("process", {}).get("name") == "node"
                            and one["state"] == "active")
        yield daemon


@pytest.fixture(scope="module")
def panel(daemon):
    with Panel() as panel:
        panel.wait(Role.LIST_ITEM, part="Web shop")
        yield panel


@pytest.fixture(autouse=True)
def no_dialog(panel):
    yield
    if panel.find(Role.FRAME, Role.DIALOG, name="Edit Forward") or panel.find(Role.FRAME, Role.DIALOG, name="Add Forward"):
        key("Escape")


def listed(daemon, guest_port, everything=False):
    words = ["--all"] if everything else []
    return next((one for one in json.loads(daemon.cli("list", "--json", *words).stdout)
                 if one["guest"].get("port") == guest_port), None)


def metadata(daemon, guest_port):
    """(live, config) of the forward, as D-Bus has it."""
    said = subprocess.run(["gdbus", "call", "--address", daemon.address, "--dest", "org.virtforward1", "--object-path", "/org/virtforward1", "--method",
                           "org.freedesktop.DBus.ObjectManager.GetManagedObjects"], capture_output=True, text=True).stdout
    for one in said.split("objectpath"):
        if f"'GuestPort': <uint16 {guest_port}>" in one:
            return "'Live': <true>" in one, "'Config': <true>" in one
    return None


def definition(daemon, guest_port):
    """The element in the metadata."""
    said = daemon.cli("export", "web", "--format", "xml").stdout
    return next(line.strip() for line in said.splitlines() if f'guest-port="{guest_port}"' in line)


def saved(daemon, guest_port):
    """The element in the metadata of the next start."""
    said = subprocess.run(["gdbus", "call", "--address", daemon.address, "--dest", "org.virtforward1", "--object-path",
                           f"/org/virtforward1/domain/{uuid_of('web').replace('-', '_')}", "--method",
                           "org.virtforward1.Domain.GetMetadata", "{'config': <true>}"],
                          capture_output=True, text=True, check=True).stdout
    elements = ast.literal_eval(said)[0].replace("'", '"').split("<")
    return next((one for one in elements if f'guest-port="{guest_port}"' in one), None)


def type_into(panel, mnemonic, text):
    """Into the entry with that mnemonic."""
    key("alt+" + mnemonic)
    key("ctrl+a")
    type_text(text)


def menu(panel, part, item):
    """An entry of the row's menu."""
    panel.press(panel.inside(panel.row(part), "More Actions"))
    entry = panel.wait(Role.MENU_ITEM, name=item)
    panel.press(entry)


def test_shows_what_the_daemon_shows(panel):
    said = panel.row("node").get_name()
    assert "http://localhost:3000" in said and "port 3000 on 127.0.0.1" in said and "vsock" in said
    assert "automatic" in said
    said = panel.row("Web shop").get_name()
    assert "http://localhost:8080" in said and "nginx" in said and "port 80 on all addresses" in said
    said = panel.row("15432").get_name()
    assert "Nothing listens: the guest says that nothing listens on port 5432" in said
    panel.row("No forwards yet")
    panel.row("Virtual machine build-01")


def test_every_control_has_a_name(panel):
    controls = (Role.PUSH_BUTTON, Role.TOGGLE_BUTTON, Role.TEXT, Role.ENTRY, Role.COMBO_BOX, Role.LIST, Role.LIST_ITEM,
                Role.MENU_ITEM, Role.CHECK_BOX)
    shown = [node for node in panel.nodes() if node.get_role() in controls]
    assert len(shown) > 10
    assert all(node.get_name() for node in shown), panel.dump()


def test_follows_a_service_that_comes_and_goes(panel, daemon):
    server = daemon.guest.serve("vite", 5173)
    panel.row("vite")
    server.terminate()
    panel.wait_gone(Role.LIST_ITEM, part="vite")


def test_counts_connections(panel):
    with socket.create_connection(("127.0.0.1", 8080)) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        while client.recv(65536):
            pass
    until(lambda: "\u00a0kB out" in panel.row("Web shop").get_name(), "the bytes are shown")
    with socket.create_connection(("127.0.0.1", 8080)):
        until(lambda: "1 open" in panel.row("Web shop").get_name(), "the connection is shown")


def test_copies(panel):
    panel.press(panel.inside(panel.row("Web shop"), "Copy URL"))
    until(lambda: clipboard() == "http://localhost:8080", "the address is in the clipboard")
    panel.wait(Role.LABEL, name="http://localhost:8080 copied")


def test_copies_with_the_keyboard(panel):
    panel.select("node")
    key("ctrl+c")
    until(lambda: clipboard() == "http://localhost:3000", "the address is in the clipboard")


@pytest.fixture
def browser(tmp_path):
    """The desktop's program for http:// writes down what it is asked to open."""
    opened = tmp_path / "opened"
    opened.touch()
    program = tmp_path / "browser"
    program.write_text(f"#!/bin/sh\necho \"$1\" >{opened}\n")
    program.chmod(0o755)
    folder = pathlib.Path(os.environ["XDG_DATA_HOME"]) / "applications"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "browser.desktop").write_text(
        f"[Desktop Entry]\nType=Application\nName=Browser\nExec={program} %u\nMimeType=x-scheme-handler/http;\n")
    config = pathlib.Path(os.environ["XDG_CONFIG_HOME"])
    config.mkdir(parents=True, exist_ok=True)
    (config / "mimeapps.list").write_text("[Default Applications]\nx-scheme-handler/http=browser.desktop\n")
    return opened


def test_opens(panel, browser):
    panel.press(panel.inside(panel.row("node"), "Open in Browser"))
    until(lambda: browser.read_text() == "http://localhost:3000\n", "the browser has the address")


def test_adds_with_the_keyboard(panel, daemon):
    panel.select("web")
    key("ctrl+n")
    panel.wait(Role.FRAME, Role.DIALOG, name="Add Forward")
    type_into(panel, GUEST_PORT, "8443")
    type_into(panel, HOST_PORT, "18443")
    panel.wait(Role.LABEL, name="Port 18443 of this host is free.")
    assert listed(daemon, 8443) is None, "nothing is made before it is asked for"
    key("Return")
    panel.wait(Role.LABEL, name="Port 18443 of this host is forwarded")
    panel.row("localhost:18443")
    assert listed(daemon, 8443)["host"]["port"] == 18443
    assert metadata(daemon, 8443) == (True, False), "this run is the default"


def test_typing_begins_with_the_port(panel, daemon):
    panel.select("web")
    key("ctrl+n")
    panel.wait(Role.FRAME, Role.DIALOG, name="Add Forward")
    type_text("8446")
    key("Return")
    panel.row("Port 8446")
    assert listed(daemon, 8446)


def test_says_what_is_wrong_while_it_is_typed(panel, daemon):
    panel.select("web")
    key("ctrl+n")
    panel.wait(Role.FRAME, Role.DIALOG, name="Add Forward")
    type_into(panel, GUEST_PORT, "70000")
    panel.wait(Role.LABEL, part="“70000” is no port.")
    type_into(panel, GUEST_PORT, "80")
    type_into(panel, HOST_PORT, "8080")
    panel.wait(Role.LABEL, part="already has the forward")
    with socket.create_server(("127.0.0.1", 18000)):
        type_into(panel, HOST_PORT, "18000")
        panel.wait(Role.LABEL, name="Port 18000 of this host is taken. The forward gets port 18001.")
        panel.picture("add-busy-port")
    key("Escape")
    panel.wait_gone(Role.LABEL, part="Port 18000")
    assert listed(daemon, 80)["host"]["port"] == 8080


def test_edits_and_keeps_what_it_does_not_show(panel, daemon):
    menu(panel, "15432", "Edit…")
    panel.wait(Role.FRAME, Role.DIALOG, name="Edit Forward")
    type_into(panel, LABEL, "Database")
    type_into(panel, HOST_PORT, "15433")
    panel.wait(Role.LABEL, name="Port 15433 of this host is free.")
    key("Return")
    panel.row("Database")
    assert listed(daemon, 5432)["host"]["port"] == 15433
    assert metadata(daemon, 5432) == (True, True), "where it was"
    with socket.create_server(("127.0.0.1", 15434)):
        refused = daemon.cli("add", "--dry-run", "web", "15434:5432", "--on-busy", "fail", check=False)
    assert refused.returncode == 5, refused.stderr


def choose(panel, mnemonic, name, *keys):
    """From the list behind a row of the dialog, with the keyboard."""
    key("alt+" + mnemonic)
    panel.wait(Role.LABEL, name=name)
    key(*keys, "Return")


def test_adds_for_always_with_an_address_and_a_way(panel, daemon):
    panel.select("web")
    key("ctrl+n")
    panel.wait(Role.FRAME, Role.DIALOG, name="Add Forward")
    type_into(panel, GUEST_PORT, "7000-7002")
    type_into(panel, HOST_PORT, "17000-17002")
    choose(panel, SPAN, "Always", "Down")
    key("alt+o")
    panel.wait(Role.LABEL, part="of this host (empty")
    type_into(panel, ADDRESS, "127.0.0.x")
    panel.wait(Role.LABEL, part="127.0.0.x")
    panel.picture("add-more")
    type_into(panel, ADDRESS, "127.0.0.1")
    choose(panel, WAY, "vsock", "Down", "Down")
    panel.wait(Role.LABEL, name="The first of them gets port 17000 of this host.")
    key("Return")
    panel.row("localhost:17002")
    assert metadata(daemon, 7001) == (True, True)
    made = definition(daemon, "7000-7002")
    assert 'host-address="127.0.0.1"' in made and 'transport="vsock"' in made, made


def test_edit_keeps_the_range_and_changes_address_and_way(panel, daemon):
    menu(panel, "localhost:17001", "Edit…")
    panel.wait(Role.FRAME, Role.DIALOG, name="Edit Forward")
    panel.wait(Role.LABEL, part="of this host (empty")  # shown at once, since something is set there
    panel.picture("edit")
    type_into(panel, LABEL, "Range")
    type_into(panel, ADDRESS, "127.0.0.2")
    choose(panel, WAY, "Best", "Up", "Up")
    key("alt+s")
    panel.row("127.0.0.2:17002")
    made = definition(daemon, "7000-7002")
    assert made == '<forward guest-port="7000-7002" host-port="17000-17002" host-address="127.0.0.2" label="Range"/>', made
    with socket.create_connection(("127.0.0.2", 17001)):
        pass
    menu(panel, "127.0.0.2:17001", "Remove…")
    panel.wait(Role.LABEL, name="Remove “Range”?")
    key("Return")
    panel.wait_gone(Role.LIST_ITEM, part="127.0.0.2")


def test_edit_of_this_run_leaves_the_saved_one_alone(panel, daemon):
    menu(panel, "Database", "Edit…")
    panel.wait(Role.FRAME, Role.DIALOG, name="Edit Forward")
    panel.wait(Role.LABEL, name="Changed now and for its next starts")  # by default, as it is in both
    type_into(panel, LABEL, "Tonight")
    choose(panel, SPAN, "Always", "Up")
    panel.wait(Role.LABEL, name="Its next start has the forward as it was")
    panel.picture("edit-this-run")
    key("alt+s")
    panel.row("Tonight")
    assert 'label="Tonight"' in definition(daemon, 5432)
    assert 'label="Database"' in saved(daemon, 5432)
    menu(panel, "Tonight", "Edit…")
    panel.wait(Role.FRAME, Role.DIALOG, name="Edit Forward")
    type_into(panel, LABEL, "Database")
    key("Return")
    panel.row("Database")


def test_edit_keeps_what_was_of_this_run(panel, daemon):
    daemon.cli("add", "web", "18090:9090", "--on-busy", "fail")
    assert metadata(daemon, 9090) == (True, False)
    menu(panel, "localhost:18090", "Edit…")
    panel.wait(Role.FRAME, Role.DIALOG, name="Edit Forward")
    panel.wait(Role.LABEL, name="Gone when the machine stops")
    choose(panel, SPAN, "This run", "Down")
    panel.wait(Role.LABEL, name="There at its next starts as well")
    key("alt+s")
    until(lambda: metadata(daemon, 9090) == (True, True), "it is kept")
    kept = saved(daemon, 9090)
    assert 'host-port="18090"' in kept and 'on-busy="fail"' in kept, kept
    panel.wait_gone(Role.FRAME, Role.DIALOG, name="Edit Forward")
    daemon.cli("remove", "web", "18090", "--persistent")
    panel.wait_gone(Role.LIST_ITEM, part="localhost:18090")


def test_disables_where_it_is_defined(panel, daemon):
    menu(panel, "Database", "Disable")
    panel.wait(Role.LABEL, name="Forward disabled")
    assert 'enabled="no"' in definition(daemon, 5432) and 'enabled="no"' in saved(daemon, 5432)
    until(lambda: "Disabled" in panel.row("Database").get_name(), "the row says it")
    daemon.cli("enable", "web", "5432", "--live")
    until(lambda: "Disabled" not in panel.row("Database").get_name(), "the row says it")
    daemon.cli("add", "web", "18091:9091", "--disabled")
    menu(panel, "Port 9091", "Enable")
    until(lambda: "localhost:18091" in panel.row("Port 9091").get_name() and listed(daemon, 9091), "it is served")
    assert metadata(daemon, 9091) == (True, False) and saved(daemon, 9091) is None
    daemon.cli("enable", "web", "5432", "--config")
    daemon.cli("remove", "web", "18091")
    panel.wait_gone(Role.LIST_ITEM, part="localhost:18091")


def test_says_why_it_cannot_be_enabled(panel, daemon):
    daemon.cli("add", "web", "18092:9092", "--disabled", "--on-busy", "fail")
    with socket.create_server(("127.0.0.1", 18092)):
        menu(panel, "Port 9092", "Enable")
        panel.wait(Role.LABEL, name="Cannot Enable the Forward")
        key("Escape")
        panel.wait_gone(Role.LABEL, name="Cannot Enable the Forward")
        assert "Disabled" in panel.row("Port 9092").get_name()
    daemon.cli("remove", "web", "18092")
    panel.wait_gone(Role.LIST_ITEM, part="Port 9092")


def test_buttons_say_their_names_once(panel):
    key("ctrl+n")
    panel.wait(Role.FRAME, Role.DIALOG, name="Add Forward")
    for name in ("Add", "Cancel"):
        panel.wait(Role.PUSH_BUTTON, name=name)
    key("Escape")
    panel.wait_gone(Role.FRAME, Role.DIALOG, name="Add Forward")
    menu(panel, "Database", "Edit…")
    panel.wait(Role.PUSH_BUTTON, name="Save")
    key("Escape")
    panel.wait_gone(Role.FRAME, Role.DIALOG, name="Edit Forward")
    twice = [node.get_name() for node in panel.nodes()
             if (words := (node.get_name() or "").split()) and words[:len(words) // 2] == words[len(words) // 2:]]
    assert not twice


def test_removes_when_it_is_sure(panel, daemon):
    panel.select("Web shop")
    key("Delete")
    panel.wait(Role.LABEL, name="Remove “Web shop”?")
    key("Escape")
    panel.wait_gone(Role.LABEL, name="Remove “Web shop”?")
    assert listed(daemon, 80)
    panel.select("Web shop")
    key("Delete")
    panel.wait(Role.LABEL, name="Remove “Web shop”?")
    key("Return")
    panel.wait_gone(Role.LIST_ITEM, part="Web shop")
    # What listens in the guest is forwarded by itself then.
    assert metadata(daemon, 80) in (None, (True, False))


def test_blocks_and_unblocks(panel, daemon):
    menu(panel, "node", "Block Port")
    until(lambda: "Blocked" in panel.row("node").get_name(), "it is blocked")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", 3000)).close()
    panel.select("node")
    key("ctrl+b")
    until(lambda: "localhost:3000" in panel.row("node").get_name(), "it is forwarded again")


def test_switches_automatic_forwarding(panel, daemon):
    switch = panel.inside(panel.row("Virtual machine build-01"), "Automatic forwarding")
    panel.press(switch)
    until(lambda: json.loads(daemon.cli("auto", "build-01", "--json").stdout)["automatic"], "it is on")
    panel.press(switch)
    until(lambda: not json.loads(daemon.cli("auto", "build-01", "--json").stdout)["automatic"], "it is off")


def test_searches(panel):
    key("ctrl+f")
    type_text("node")
    panel.wait_gone(Role.LIST_ITEM, part="build-01")
    panel.row("node")
    type_text("zzz")
    panel.wait(Role.LABEL, name="Nothing Found")
    key("Escape")
    panel.row("build-01")


def test_has_a_list_of_its_keys(panel):
    key("ctrl+question")
    panel.wait(Role.LABEL, name="Block or unblock port")
    panel.picture("shortcuts")
    key("Escape")
    panel.wait_gone(Role.LABEL, name="Block or unblock port")
