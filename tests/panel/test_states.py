# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the panel says where there is nothing to show, and how it looks: each state leaves a picture."""
import os
import shutil
import signal
import subprocess
import sys

import pytest

from desktop import PICTURES, Panel, Role, outline
from machines import OFF, Daemon, Guest, machine
from session import until

HERE = os.path.dirname(os.path.abspath(__file__))
LONG = "a-machine-with-a-name-as-long-as-somebody-who-names-machines-by-what-they-do-will-make-it"
SHOP = """<vf:forward guest-port="80" host-port="8080" label="Web shop"/>
  <vf:forward guest-port="22" host-port="2222" name="ssh"/>
  <vf:forward guest-port="53" host-port="5353" protocol="udp" name="dns" enabled="no"/>
  <vf:auto enabled="yes"/>"""
LONG_LABEL = "The customer database of the whole company, replicated from the main site every night"


def test_no_daemon_and_one_that_comes_and_goes():
    with Panel() as panel:
        panel.wait(Role.LABEL, name="No Daemon Runs")
        panel.wait(Role.LABEL, name="sudo systemctl enable --now virt-forward.target")
        panel.wait(Role.LABEL, name="systemctl --user enable --now virt-forwardd.socket")
        panel.picture("no-daemon")
        with Daemon(machine("web", SHOP)) as daemon:
            panel.row("Web shop")
            daemon.kill()
            panel.wait(Role.LABEL, name="No Daemon Runs")
            daemon.__enter__()
            panel.row("Web shop")


def test_no_machine():
    with Daemon(machine("web", SHOP, OFF)), Panel() as panel:
        panel.wait(Role.LABEL, name="No Running Machines")
        panel.picture("no-machine")


def test_one_machine():
    with Daemon(machine("web", SHOP), machine("db"), machine("off", SHOP, OFF)):
        with Panel("--domain", "web") as panel:
            panel.row("Web shop")
            assert panel.lacks(Role.LIST_ITEM, part="Virtual machine db")
            panel.wait(Role.LABEL, name="web")
        with Panel("--domain", "off") as panel:
            panel.wait(Role.LABEL, part="Start “off”")


def test_a_daemon_that_does_not_answer():
    with Daemon(machine("web", SHOP)) as daemon:
        daemon.signal(signal.SIGSTOP)
        with Panel("--address", daemon.address) as panel:
            panel.wait(Role.LABEL, name="Looking for Forwards")
            panel.picture("loading", rests=False)
            panel.wait(Role.LABEL, name="The Daemon Does Not Answer", deadline=30)
            panel.picture("no-answer")
            daemon.signal(signal.SIGCONT)
            panel.press(panel.wait(Role.PUSH_BUTTON, part="Try Again"))
            panel.row("Web shop")


def test_not_allowed():
    """The system's daemon is for root, and there is no bus to ask it by; the one at the desk is nobody."""
    with Daemon(machine("web", SHOP), runtime="/run/virt-forward"):
        os.makedirs("/run/panel/nobody", exist_ok=True)
        os.chown("/run/panel/nobody", 65534, 65534)
        subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--", sys.executable, f"{HERE}/as_nobody.py"], check=True, timeout=60,
                       env=dict(os.environ, VF_PICTURES="/run/panel/nobody"))
        os.makedirs(PICTURES, exist_ok=True)
        shutil.copy("/run/panel/nobody/not-allowed.png", PICTURES)


def test_a_reason_is_said_once():
    with Guest("web") as guest, Daemon(machine("web", '<vf:auto enabled="no"/>')), Panel() as panel:
        guest.serve("nginx", 80)
        panel.row("nginx · port 80 on all addresses · Not forwarded · automatic forwarding is off")
        guest.serve("node", 3000, "127.0.0.1")
        guest.serve("redis", 6379, "127.0.0.1")
        panel.row("redis")
        said = [node.get_name() for node in panel.nodes(lambda top: outline(top, True))
                if "automatic forwarding is off" in (node.get_name() or "")]
        assert len(said) == 1 and said[0].startswith("Not forwarded: automatic forwarding is off"), panel.dump()
        assert panel.row("nginx").get_name() == "nginx · port 80 on all addresses · Not forwarded"
        panel.picture("automatic-off")


@pytest.fixture(scope="module")
def shown():
    forwards = f'<vf:forward guest-port="5432" host-port="15432" label="{LONG_LABEL}"/>' + SHOP
    with Guest("shop") as guest, Daemon(machine("shop", forwards), machine(LONG, '<vf:forward guest-port="x"/>')) as daemon:
        guest.serve("nginx", 80)
        guest.serve("node", 3000, "127.0.0.1")
        guest.serve("sshd", 22)
        daemon.cli("block", "shop", "5355")
        guest.serve("systemd-resolve", 5355)
        daemon.wait_forward("node is forwarded", lambda one: one.get("process", {}).get("name") == "node"
                            and one["state"] == "active")
        yield daemon


@pytest.mark.parametrize("name, environment, said", [
    ("light", {}, "Virtual machine shop"),
    ("dark", {"ADW_DEBUG_COLOR_SCHEME": "prefer-dark"}, "Virtual machine shop"),
    ("high-contrast", {"ADW_DEBUG_HIGH_CONTRAST": "1"}, "Virtual machine shop"),
    ("german", {"LANGUAGE": "de"}, "Virtuelle Maschine shop"),
    ("right-to-left", {"LANGUAGE": "he"}, "Virtual machine shop"),
])
def test_looks(shown, name, environment, said):
    with Panel(**environment) as panel:
        panel.row(said)
        panel.row("systemd-resolve")
        until(lambda: "· 0 " in panel.row("Web shop").get_name(), "counters are there")
        panel.picture(name)
