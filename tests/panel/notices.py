# SPDX-License-Identifier: LGPL-2.1-or-later
"""dunst as the session's notification server, and virt-forward-notify."""
import os
import subprocess

from desktop import PANEL
from machines import BUILD
from session import until

NOTIFIER = f"{BUILD}/src/notify/virt-forward-notify"
DIRECTORY = "/run/panel/notices"
# dunst's menu has a line for each action, "#LABEL (SUMMARY) [ID,ACTION]".
FILES = {
    "dunstrc": f"""[global]
dmenu = {DIRECTORY}/menu
width = (300, 500)
font = Cantarell 11
frame_width = 1
frame_color = "#888888"
corner_radius = 8
padding = 12
horizontal_padding = 14
show_indicators = no
[urgency_normal]
background = "#fafafa"
foreground = "#202020"
[urgency_critical]
background = "#fafafa"
foreground = "#202020"
[all]
summary = "*"
timeout = 0
script = {DIRECTORY}/noticed
""",
    "menu": f"""#!/bin/sh
cat > {DIRECTORY}/actions
grep -F -- "#$(cat {DIRECTORY}/pick) (" {DIRECTORY}/actions | head -n 1
""",
    "noticed": f"""#!/bin/sh
echo "$DUNST_SUMMARY" >> {DIRECTORY}/summaries
""",
}


class Notices:
    """Use it in a with statement; the daemon is at `address`."""

    def __init__(self, address):
        self._address = address
        self._processes = []

    def __enter__(self):
        os.makedirs(DIRECTORY, exist_ok=True)
        for name, content in FILES.items():
            with open(f"{DIRECTORY}/{name}", "w", encoding="utf-8") as file:
                file.write(content)
            os.chmod(f"{DIRECTORY}/{name}", 0o755)
        with open(f"{DIRECTORY}/summaries", "w", encoding="utf-8"):
            pass
        self._start("dunst", "-conf", f"{DIRECTORY}/dunstrc")
        until(lambda: self._owned("org.freedesktop.Notifications"), "a notification server runs")
        self._start(NOTIFIER, "--address", self._address)
        until(lambda: self._owned("org.virtforward1.Notifier"), "virt-forward-notify runs")
        return self

    def _start(self, *command):
        # The panel is where the notifier looks for it.
        environment = dict(os.environ, PATH=os.path.dirname(PANEL) + ":" + os.environ["PATH"])
        with open(f"{DIRECTORY}/log", "ab") as log:
            self._processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                    env=environment))

    @staticmethod
    def _owned(name):
        return "true" in subprocess.run(["gdbus", "call", "--session", "-d", "org.freedesktop.DBus", "-o", "/", "-m",
                                         "org.freedesktop.DBus.NameHasOwner", name], capture_output=True, text=True).stdout

    @staticmethod
    def summaries():
        """Of all that were shown, in order."""
        with open(f"{DIRECTORY}/summaries", encoding="utf-8") as file:
            return file.read().splitlines()

    def wait(self, summary):
        until(lambda: summary in self.summaries(), f"a notification says {summary}: {self.summaries()}", 30)

    @staticmethod
    def displayed():
        return int(subprocess.run(["dunstctl", "count", "displayed"], capture_output=True, text=True, check=True).stdout)

    @staticmethod
    def click(action):
        with open(f"{DIRECTORY}/pick", "w", encoding="utf-8") as file:
            file.write(action)
        subprocess.run(["dunstctl", "context"], check=True)

    def __exit__(self, *_):
        statuses = []
        for process in reversed(self._processes):
            process.terminate()
            statuses.append(process.wait(20))
        assert statuses[0] == 0, open(f"{DIRECTORY}/log", encoding="utf-8", errors="replace").read()
