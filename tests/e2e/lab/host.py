# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lab's libvirtd, and connections to it that survive its end."""
import glob
import os
import signal
import subprocess
import threading

import libvirt

from . import wait

_loop_started = False


def _start_event_loop():
    """libvirt wants its event loop before the first connection; it runs in a thread for ever."""
    global _loop_started
    if _loop_started:
        return
    _loop_started = True
    libvirt.virEventRegisterDefaultImpl()
    # errors are exceptions here; what libvirt would print besides is noise
    libvirt.registerErrorHandler(lambda _context, _error: None, None)

    def run():
        while True:
            libvirt.virEventRunDefaultImpl()

    threading.Thread(target=run, name="libvirt-events", daemon=True).start()


class Libvirtd:
    """The daemon in this lab. Started by enter; a test may kill it and start it again."""

    def __init__(self):
        _start_event_loop()
        self._connection = None

    @property
    def connection(self):
        """A connection that works now: the last one, or a new one if that has died."""
        if self._connection is not None:
            try:
                self._connection.getLibVersion()
                return self._connection
            except libvirt.libvirtError:
                self._connection = None
        self._connection = libvirt.open("qemu:///system")
        return self._connection

    @staticmethod
    def pid():
        with open("/run/libvirtd.pid", encoding="ascii") as file:
            return int(file.read())

    def kill(self, number=signal.SIGKILL):
        """Ends it and waits for that."""
        pid = self.pid()
        os.kill(pid, number)
        wait.until(lambda: not alive(pid), "libvirtd has ended")

    def start(self):
        """Returns when it has the monitors of its guests again."""
        subprocess.run(["libvirtd-start"], check=True, timeout=30)
        self._wait_for_guests()

    def _wait_for_guests(self):
        # A destroy kills QEMU first and then waits for whoever works on the domain. Where that is still
        # the thread that reconnects, it finds QEMU gone, ends the run itself, and the destroy fails with
        # "domain is not running". This call waits its turn in the same way and changes nothing.
        for domain in self.connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
            try:
                domain.diskErrors()
            except libvirt.libvirtError as error:
                if error.get_error_code() not in (libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_NO_DOMAIN):
                    raise

    def restart(self, number=signal.SIGKILL):
        self.kill(number)
        self.start()


def logs(since=0.0, lines=60):
    """The ends of libvirtd's log and of the log of every QEMU that was written to after `since` (Unix time):
    why a domain ended, or why libvirtd ended it."""
    parts = []
    for path in ["/run/lab/libvirtd.log", *sorted(glob.glob("/var/log/libvirt/qemu/*.log"))]:
        try:
            if os.path.getmtime(path) < since:
                continue
            with open(path, encoding="utf-8", errors="replace") as file:
                parts.append(f"--- {path}\n{''.join(file.readlines()[-lines:])}")
        except FileNotFoundError:
            pass
    return "".join(parts)


def alive(pid):
    """Whether the process runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def processes(name):
    """Process ids of the running programs of that file name, in this lab."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            if os.path.basename(os.readlink(f"/proc/{entry}/exe")).removesuffix(" (deleted)") == name:
                found.append(int(entry))
        except OSError:
            pass
    return sorted(found)


class Events:
    """Records libvirt's events of all domains; wait() blocks until a wanted one has come.

    An event is a tuple: ("lifecycle", uuid, event, detail), ("reboot", uuid) or
    ("metadata", uuid, type, uri). Callbacks run in libvirt's thread.
    """

    def __init__(self, connection):
        self._connection = connection
        self._changed = threading.Condition()
        self.seen = []
        register = connection.domainEventRegisterAny
        self._ids = [
            register(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                     lambda _c, d, event, detail, _o: self._add("lifecycle", d.UUIDString(), event, detail), None),
            register(None, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT,
                     lambda _c, d, _o: self._add("reboot", d.UUIDString()), None),
            register(None, libvirt.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE,
                     lambda _c, d, kind, uri, _o: self._add("metadata", d.UUIDString(), kind, uri), None),
        ]

    def _add(self, *event):
        with self._changed:
            self.seen.append(event)
            self._changed.notify_all()

    def wait(self, *start, deadline=30.0):
        """The first event seen that begins with these values."""
        def first():
            return next((event for event in self.seen if event[:len(start)] == start), None)

        with self._changed:
            if not self._changed.wait_for(first, deadline * wait.SLOWNESS):
                raise wait.Timeout(f"no event {start} within {deadline} s; seen: {self.seen}")
            return first()

    def clear(self):
        with self._changed:
            self.seen.clear()

    def close(self):
        for number in self._ids:
            try:
                self._connection.domainEventDeregisterAny(number)
            except libvirt.libvirtError:
                pass  # the connection has died
        self._ids = []
