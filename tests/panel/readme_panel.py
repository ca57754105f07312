# SPDX-License-Identifier: LGPL-2.1-or-later
"""For contrib/doc/make-pictures: the panel with two machines as people have them."""
import socket
import subprocess
import urllib.request

from session import Session, until

SESSION = Session().start()

from desktop import PICTURES, Panel  # noqa: E402
from machines import Daemon, Guest, machine  # noqa: E402

SHOP = """<vf:forward guest-port="80" host-port="8080" label="Web shop"/>
  <vf:forward guest-port="22" host-port="2222" name="ssh"/><vf:auto enabled="yes"/>"""
BUILD = '<vf:forward guest-port="8000" host-port="8000" label="Artifacts"/>'

with Guest("shop") as shop, Guest("build-01") as build, Daemon(machine("shop", SHOP), machine("build-01", BUILD)) as daemon:
    build.serve("caddy", 8000)
    shop.serve("nginx", 80)
    shop.serve("sshd", 22)
    shop.serve("node", 3000, "127.0.0.1")
    shop.serve("postgres", 5432, "127.0.0.1")
    daemon.cli("block", "shop", "5432")
    daemon.wait_forward("node is forwarded", lambda one: one.get("process", {}).get("name") == "node"
                        and one["state"] == "active")
    with urllib.request.urlopen("http://127.0.0.1:8080/") as page:
        page.read()
    with socket.create_connection(("127.0.0.1", 3000)), Panel() as panel:
        until(lambda: "1 open" in panel.row("node").get_name(), "the connection is shown")
        until(lambda: "12" in panel.row("Web shop").get_name(), "the bytes are shown")
        panel.picture("screen")
        window = panel.windows()[0]
        subprocess.run(["import", "-silent", "-window", window, f"{PICTURES}/panel.png"], check=True)
SESSION.stop()
