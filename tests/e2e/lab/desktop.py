# SPDX-License-Identifier: LGPL-2.1-or-later
"""A desktop in the lab: a session bus, an X server, dunst as its notification server, and a browser that
writes down what it is to open. People are dunst's menu of actions, which picks what a test says."""
import contextlib
import json
import os
import subprocess

from . import host, programs, wait

NOTIFIER = "/usr/bin/virt-forward-notify"
DIRECTORY = "/run/lab/desktop"
LOG = f"{DIRECTORY}/notifier.log"
SERVER = "org.freedesktop.Notifications"
FILES = {
    "dunstrc": f"""[global]
dmenu = {DIRECTORY}/menu
[all]
summary = "*"
timeout = 0
script = {DIRECTORY}/noticed
""",
    # dunst's menu: a line for each action, "#LABEL (SUMMARY) [ID,ACTION]"
    "menu": f"""#!/bin/sh
cat > {DIRECTORY}/actions.new
mv {DIRECTORY}/actions.new {DIRECTORY}/actions
grep -F -- "$(cat {DIRECTORY}/pick)" {DIRECTORY}/actions | head -n 1
""",
    "noticed": f"""#!/usr/bin/python3
import json, os
with open("{DIRECTORY}/notices", "a", encoding="utf-8") as file:
    file.write(json.dumps({{"summary": os.environ["DUNST_SUMMARY"], "body": os.environ["DUNST_BODY"],
                           "urgency": os.environ["DUNST_URGENCY"]}}) + "\\n")
""",
    "browser": f"""#!/bin/sh
echo "$1" >> {DIRECTORY}/opened
""",
    "data/applications/browser.desktop": f"""[Desktop Entry]
Type=Application
Name=Browser
Exec={DIRECTORY}/browser %u
MimeType=x-scheme-handler/http;
""",
    "config/mimeapps.list": """[Default Applications]
x-scheme-handler/http=browser.desktop
""",
}


def _lines(name):
    try:
        with open(f"{DIRECTORY}/{name}", encoding="utf-8") as file:
            return [line for line in file.read().split("\n") if line]
    except FileNotFoundError:
        return []


class Desktop:
    """Use it in a with statement. Without `server` there is no notification server until start_server()."""

    def __init__(self, server=True):
        subprocess.run(["rm", "-rf", DIRECTORY], check=True)
        for name, content in FILES.items():
            path = f"{DIRECTORY}/{name}"
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(content)
            os.chmod(path, 0o755)
        self._server = None
        self._notifier = None
        self._processes = []
        bus = f"unix:path={DIRECTORY}/bus"
        self.environment = dict(os.environ, DBUS_SESSION_BUS_ADDRESS=bus, XDG_CONFIG_HOME=f"{DIRECTORY}/config",
                                XDG_DATA_HOME=f"{DIRECTORY}/data", LSAN_OPTIONS=f"suppressions={programs.SUPPRESSIONS}")
        self.environment.pop("WAYLAND_DISPLAY", None)
        with contextlib.ExitStack() as closing:
            closing.callback(self.close)
            self._start("dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address={bus}")
            wait.until(lambda: self._has_name("org.freedesktop.DBus"), "the session bus is up", 10)
            read, write = os.pipe()
            self._start("Xvfb", "-displayfd", str(write), "-screen", "0", "1280x800x24", "-nolisten", "tcp",
                        pass_fds=(write,))
            os.close(write)
            with open(read, encoding="ascii") as display:
                self.environment["DISPLAY"] = ":" + display.readline().strip()
            if server:
                self.start_server()
            closing.pop_all()

    def _start(self, *command, log="programs.log", **options):
        with open(f"{DIRECTORY}/{log}", "ab") as file:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                                       env=self.environment, **options)
        self._processes.append(process)
        return process

    def run(self, *command, check=True):
        return subprocess.run(command, env=self.environment, check=check, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=30, stdin=subprocess.DEVNULL).stdout

    def _has_name(self, name):
        return "true" in self.run("gdbus", "call", "--session", "-d", "org.freedesktop.DBus", "-o", "/", "-m",
                                  "org.freedesktop.DBus.NameHasOwner", name, check=False)

    def start_server(self):
        self._server = self._start("dunst", "-conf", f"{DIRECTORY}/dunstrc")
        wait.until(lambda: self._has_name(SERVER), "the notification server is up", 10)

    # --- the program

    def start_notifier(self, *arguments):
        """Returns when it has seen what the daemon has, where there is one."""
        self._notifier = self._start(NOTIFIER, *arguments, log="notifier.log")
        wait.until(lambda: self._has_name("org.virtforward1.Notifier"), "virt-forward-notify is on the bus", 15)
        return self

    def wait_watching(self):
        """Until it has a connection to the daemon and has read what is there."""
        def connected():
            lines = subprocess.run(["ss", "-Hxp", "state", "connected"], check=True, stdout=subprocess.PIPE,
                                   text=True).stdout.splitlines()
            mine = {line.split()[4] for line in lines if f"pid={self._notifier.pid}," in line}
            daemons = {line.split()[6] for line in lines if "/run/virt-forward/bus.sock" in line}
            return mine & daemons

        wait.until(connected, "virt-forward-notify is connected to the daemon", 45)
        # What it answers now comes behind its reading.
        self.run("gdbus", "call", "--session", "-d", "org.virtforward1.Notifier", "-o", "/org/virtforward1/Notifier",
                 "-m", "org.gtk.Actions.List")
        return self

    def stop_notifier(self):
        self._notifier.terminate()
        status = self._notifier.wait(15)
        self._processes.remove(self._notifier)
        self._notifier = None
        return status

    def activate(self, action, parameter, check=True):
        """As a desktop does for an action; the bus starts the program where it does not run."""
        self.run("gdbus", "call", "--session", "-d", "org.virtforward1.Notifier", "-o", "/org/virtforward1/Notifier",
                 "-m", "org.freedesktop.Application.ActivateAction", action, f"[{parameter}]", "{}", check=check)

    @staticmethod
    def end_activated():
        pids = host.processes("virt-forward-notify")
        assert len(pids) == 1
        os.kill(pids[0], 15)
        wait.until(lambda: not host.processes("virt-forward-notify"), "virt-forward-notify has ended", 15)

    @staticmethod
    def log():
        return "\n".join(_lines("notifier.log"))

    # --- what people see and do

    @staticmethod
    def notices():
        """All that were shown, in order."""
        return [json.loads(line) for line in _lines("notices")]

    def wait_notice(self, summary, deadline=30.0):
        """The first with this summary that was not returned before."""
        return self.wait_notices(summary, 1, deadline)[0]

    def wait_notices(self, summary, count, deadline=30.0):
        def found():
            those = [notice for notice in self.notices() if notice["summary"] == summary]
            return those if len(those) >= count else None

        try:
            return wait.until(found, f"{count} notice(s) \"{summary}\"", deadline)
        except wait.Timeout as timeout:
            raise wait.Timeout(f"{timeout}; there were: {self.notices()}; log: {self.log()}") from None

    def displayed(self):
        return int(self.run("dunstctl", "count", "displayed"))

    def actions(self):
        """What can be done, as "LABEL (SUMMARY)"."""
        self.click("nothing at all")
        return {line.partition(" [")[0][1:] for line in _lines("actions") if line.startswith("#")}

    def click(self, action):
        """`action` as in actions()."""
        with open(f"{DIRECTORY}/pick", "w", encoding="utf-8") as file:
            file.write(f"#{action}" if "(" in action else action)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{DIRECTORY}/actions")

        def shown():
            # dunst leaves a request out while it has not done with the menu before
            if not os.path.exists(f"{DIRECTORY}/actions"):
                self.run("dunstctl", "context")
                with contextlib.suppress(wait.Timeout):
                    wait.until(lambda: os.path.exists(f"{DIRECTORY}/actions"), "the menu", 1)
            return os.path.exists(f"{DIRECTORY}/actions")

        wait.until(shown, "the menu is shown", 15)

    def clipboard(self):
        return self.run("xclip", "-o", "-selection", "clipboard", check=False)

    @staticmethod
    def opened():
        return _lines("opened")

    def close(self):
        status = self.stop_notifier() if self._notifier is not None else 0
        for name in ("xclip",):
            for pid in host.processes(name):
                os.kill(pid, 15)
        for process in reversed(self._processes):
            process.kill()
            process.wait()
        self._processes.clear()
        bad = [line for line in _lines("notifier.log") if any(mark in line for mark in programs.SANITIZER_MARKS)
               or "CRITICAL" in line]
        assert not bad, self.log()
        assert status == 0, f"virt-forward-notify ended with {status}: {self.log()}"

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            print(f"--- virt-forward-notify said\n{self.log()}\n--- shown: {self.notices()}")
        self.close()
