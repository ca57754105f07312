# SPDX-License-Identifier: LGPL-2.1-or-later
"""The relays that are measured: how each is started, and what it costs."""
import os
import shutil
import signal
import socket
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TICKS = os.sysconf("SC_CLK_TCK")
DIRECT, OURS = "direct", "virt-forward"

# Words of the command; @LISTEN@ and @CONNECT@ are ports, @CONFIG@ is the file of that name in
# peers/ with these filled in. "udp" says how UDP is asked for where that differs.
COMMANDS = {
    OURS: {"tcp": ["@RELAY@", "tcp:127.0.0.1:@LISTEN@", "tcp:127.0.0.1:@CONNECT@"],
           "udp": ["@RELAY@", "udp:127.0.0.1:@LISTEN@", "udp:127.0.0.1:@CONNECT@"]},
    "haproxy": {"tcp": ["haproxy", "-db", "-f", "@CONFIG@haproxy.cfg"]},
    "haproxy+splice": {"tcp": ["haproxy", "-db", "-f", "@CONFIG@haproxy-splice.cfg"]},
    "nginx": {"tcp": ["nginx", "-c", "@CONFIG@nginx.conf"], "udp": ["nginx", "-c", "@CONFIG@nginx.conf"]},
    # becomes the proxy, in the same process, when the first connection comes
    "socket-proxyd": {"tcp": ["systemd-socket-activate", "--listen=127.0.0.1:@LISTEN@",
                              "/lib/systemd/systemd-socket-proxyd", "--connections-max=20000",
                              "127.0.0.1:@CONNECT@"]},
    "socat": {"tcp": ["socat", "TCP4-LISTEN:@LISTEN@,bind=127.0.0.1,fork,reuseaddr,backlog=1024,nodelay",
                      "TCP4:127.0.0.1:@CONNECT@,nodelay"],
              "udp": ["socat", "UDP4-LISTEN:@LISTEN@,bind=127.0.0.1,fork,reuseaddr", "UDP4:127.0.0.1:@CONNECT@"]},
    "rinetd": {"tcp": ["rinetd", "-f", "-c", "@CONFIG@rinetd.conf"]},
}


class Failed(Exception):
    """A contender, or a measurement of it, that did not do what it should within its time."""


def missing(names, relay):
    """Those of the contenders whose program is not here."""
    absent = []
    for name in names:
        if name != DIRECT:
            program = COMMANDS[name]["tcp"][0].replace("@RELAY@", relay or "/nonexistent")
            if not shutil.which(program):
                absent.append(name)
    return absent


def family(pid):
    """The process and all that descend from it."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="ascii", errors="replace") as stat:
                    parents[int(entry)] = int(stat.read().rsplit(") ", 1)[1].split()[1])
            except OSError:
                pass
    found = {pid}
    while True:
        more = {child for child, parent in parents.items() if parent in found} | found
        if more == found:
            return found
        found = more


def prioritise(pid, nice):
    """Of a session against the machine's others, where the kernel schedules by session."""
    try:
        with open(f"/proc/{pid}/autogroup", "w", encoding="ascii") as group:
            group.write(str(nice))
    except OSError as failure:
        raise SystemExit(f"--nice {nice}: {failure}") from None


class Process:
    """A started program in a session of its own, as services are, its output in a file."""

    nice = 0

    def __init__(self, words, log, cpu=None, **popen):
        if cpu is not None:
            words = ["taskset", "-c", str(cpu), *words]
        self.log = log
        with open(log, "ab") as out:
            self.popen = subprocess.Popen(words, stderr=out, start_new_session=True,
                                          stdin=popen.pop("stdin", subprocess.DEVNULL),
                                          stdout=popen.pop("stdout", out), **popen)
        if Process.nice:
            prioritise(self.popen.pid, Process.nice)

    def ended(self):
        return self.popen.poll() is not None

    def kill(self):
        for pid in family(self.popen.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.popen.wait()

    def cpu_seconds(self):
        """Of all its processes and threads, also of children that have ended."""
        total = 0
        for pid in family(self.popen.pid):
            try:
                with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
                    total += sum(int(field) for field in stat.read().rsplit(") ", 1)[1].split()[11:15])
            except OSError:
                pass
        return total / TICKS

    def memory(self):
        """Bytes of its own: neither files nor what its processes share."""
        total = 0
        for pid in family(self.popen.pid):
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
                total += sum(int(line.split()[1]) for line in rollup
                             if line.startswith(("Private_Dirty:", "Private_Clean:"))) * 1024
        return total


class Contender:
    """A relay, or none, with a far end of its own behind it."""

    def __init__(self, name, number, settings, protocol="tcp", pinned=False):
        self.name = name
        self.listen, self.connect = 6000 + number, 7000 + number
        self.work = os.path.join(settings.work, f"{settings.count()}-{name}")
        os.mkdir(self.work)
        self.load = settings.load
        self.counters = os.path.join(self.work, "counters")
        self.cpu = 0 if pinned else None
        self.far = Process([self.load, "serve", str(self.connect), self.counters],
                           os.path.join(self.work, "far.log"), self.cpu)
        self.relay = None
        if name == DIRECT:
            self.listen = self.connect
        else:
            words = [self._fill(word, settings) for word in COMMANDS[name][protocol]]
            self.relay = Process(words, os.path.join(self.work, "relay.log"), self.cpu)
        try:
            self._wait(self.connect)
            if protocol == "tcp":
                self._wait(self.listen)
        except Failed:
            self.stop()
            raise

    def _fill(self, word, settings):
        if word.startswith("@CONFIG@"):
            name = word.removeprefix("@CONFIG@")
            with open(os.path.join(HERE, "peers", name), encoding="utf-8") as template:
                text = self._fill(template.read(), settings)
            word = os.path.join(self.work, name)
            with open(word, "w", encoding="utf-8") as filled:
                filled.write(text)
        for key, value in {"LISTEN": self.listen, "CONNECT": self.connect, "RELAY": settings.relay,
                           "WORK": self.work}.items():
            word = word.replace(f"@{key}@", str(value))
        return word

    def _wait(self, port):
        """Until a byte has been to the far end and back."""
        end = time.monotonic() + 5
        while True:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=2) as probe:
                    probe.sendall(b"E")
                    if probe.recv(1) == b"E":
                        return
            except OSError:
                pass
            if time.monotonic() > end or (self.relay and self.relay.ended()) or self.far.ended():
                raise Failed(f"{self.name} does not serve port {port}: {self.complaint()}")
            time.sleep(0.02)  # a program that starts says nothing; asked again until the deadline

    def complaint(self):
        try:
            with open(os.path.join(self.work, "relay.log"), encoding="utf-8", errors="replace") as log:
                return " / ".join(log.read().strip().splitlines()[-2:]) or "no word"
        except OSError:
            return "no word"

    def client(self, mode, *numbers):
        """The command of a client end that goes through this relay."""
        words = [self.load, mode, str(self.listen), self.counters, *map(str, numbers)]
        return words if self.cpu is None else ["taskset", "-c", str(self.cpu), *words]

    def stop(self):
        for process in (self.relay, self.far):
            if process:
                process.kill()
