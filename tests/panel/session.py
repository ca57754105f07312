# SPDX-License-Identifier: LGPL-2.1-or-later
"""A desktop session: a display, a window manager, a message bus with the accessibility services."""
import os
import subprocess
import time

SIZE = "1000x720"


def until(condition, what, deadline=20.0):
    """The first true value of condition(). It is asked again and again, since what these tests look at has no event."""
    end = time.monotonic() + deadline * float(os.environ.get("VF_SLOWNESS", "1"))
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline} s: {what}")
        time.sleep(0.1)


class Session:
    def __init__(self):
        self._processes = []

    def start(self):
        read, write = os.pipe()
        self._run("Xvfb", "-displayfd", str(write), "-screen", "0", SIZE + "x24", "-nolisten", "tcp", "-ac",
                  pass_fds=(write,))
        os.close(write)
        with os.fdopen(read) as file:
            os.environ["DISPLAY"] = ":" + file.readline().strip()
        read, write = os.pipe()
        self._run("dbus-daemon", "--session", "--nofork", "--print-address=" + str(write), pass_fds=(write,))
        os.close(write)
        with os.fdopen(read) as file:
            os.environ["DBUS_SESSION_BUS_ADDRESS"] = file.readline().strip()
        os.environ.update(GDK_BACKEND="x11", GSK_RENDERER="cairo", GSETTINGS_BACKEND="memory", GTK_USE_PORTAL="0",
                          ADW_DISABLE_PORTAL="1", ADW_DEBUG_COLOR_SCHEME="prefer-light", XDG_CURRENT_DESKTOP="GNOME")
        self._run("openbox", "--sm-disable")
        try:
            until(lambda: subprocess.run(["xdotool", "get_num_desktops"], capture_output=True).returncode == 0,
                  "a window manager runs")
        except AssertionError as error:
            with open(os.environ["XDG_RUNTIME_DIR"] + "/session.log", encoding="utf-8", errors="replace") as log:
                raise AssertionError(f"{error}\n{log.read()}") from None
        subprocess.run(["xdotool", "mousemove", "999", "719"], check=True)
        return self

    def _run(self, *command, **options):
        log = open(os.environ["XDG_RUNTIME_DIR"] + "/session.log", "ab")
        with log:
            self._processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options))

    def stop(self):
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            process.wait(10)
