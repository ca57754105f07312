# SPDX-License-Identifier: LGPL-2.1-or-later
"""For contrib/doc/make-pictures: a port that has come, and one that a rule asks about."""
import os
import subprocess

from session import Session, until

SESSION = Session().start()

from desktop import PICTURES  # noqa: E402
from machines import Daemon, Guest, machine  # noqa: E402
from notices import Notices  # noqa: E402

ASK = '<vf:auto enabled="yes"><vf:rule action="ask"/></vf:auto>'

with Guest("shop") as shop, Guest("build-01") as build, \
        Daemon(machine("shop", '<vf:auto enabled="yes"/>'), machine("build-01", ASK)) as daemon, \
        Notices(daemon.address) as notices:
    shop.serve("node", 3000, "127.0.0.1")
    notices.wait("shop: node, port 3000")
    build.serve("caddy", 8000)
    notices.wait("build-01: forward port 8000 of caddy?")
    until(lambda: notices.displayed() == 2, "both are shown")
    window = subprocess.run(["xdotool", "search", "--onlyvisible", "--class", "dunst"], capture_output=True, text=True,
                            check=True).stdout.split()[0]
    os.makedirs(PICTURES, exist_ok=True)
    subprocess.run(["import", "-silent", "-window", window, f"{PICTURES}/notifications.png"], check=True)
SESSION.stop()
