# SPDX-License-Identifier: LGPL-2.1-or-later
"""Our installed programs in the lab: the daemon with its relay, and the command line."""
import contextlib
import json
import os
import signal
import socket
import subprocess
import threading

from . import host, wait

DAEMON = "/usr/sbin/virt-forwardd"
CLI = "/usr/bin/virt-forward"
RELAY = "virt-forward-relay"
SSH = "virt-forward-ssh"
LOG = "/run/lab/virt-forwardd.log"
SUPPRESSIONS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "leak-suppressions")
SANITIZER_MARKS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:", "WARNING: ThreadSanitizer")


class Cli:
    """Runs `virt-forward` and keeps what it said."""

    def __init__(self, *arguments, check=True, deadline=30.0, **options):
        done = subprocess.run([CLI, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=deadline * wait.SLOWNESS, check=False, stdin=subprocess.DEVNULL, **options)
        self.status, self.stdout, self.stderr = done.returncode, done.stdout, done.stderr
        if check and self.status != 0:
            raise AssertionError(f"virt-forward {' '.join(arguments)}: exit {self.status}\n{self.stdout}{self.stderr}")


class Daemon:
    """virt-forwardd as root on qemu:///system, without systemd: it starts its relay by itself.

    stop() also ends the relay and virt-forward-ssh, as stopping virt-forward.target would.
    """

    def __init__(self, *arguments):
        self.arguments = arguments
        self._process = None

    @property
    def pid(self):
        return self._process.pid

    @property
    def running(self):
        return self._process is not None and self._process.poll() is None

    @staticmethod
    def relay_pids():
        return host.processes(RELAY)

    def start(self, deadline=15.0):
        """Returns when the daemon has said READY=1."""
        assert not self.running
        path = "/run/lab/notify.sock"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, open(LOG, "ab") as log:
            notify.bind(path)
            notify.settimeout(0.2)
            self._process = subprocess.Popen([DAEMON, *self.arguments], stdin=subprocess.DEVNULL, stdout=log,
                                             stderr=log, env=dict(os.environ, NOTIFY_SOCKET=path,
                                                                LSAN_OPTIONS=f"suppressions={SUPPRESSIONS}"))

            def ready():
                if self._process.poll() is not None:
                    raise AssertionError(f"virt-forwardd ended with {self._process.returncode}:\n{self.log()}")
                try:
                    return b"READY=1" in notify.recv(4096)
                except socket.timeout:
                    return False

            wait.until(ready, "virt-forwardd is ready", deadline)
            wait.until(self.relay_pids, "the relay runs", deadline)
        return self

    def wait_connected(self, deadline=15.0):
        """Until it has read all domains and has its relay: what it opens for good it has then opened."""
        wait.until(lambda: all(said in self.log() for said in ("connected to libvirt", "offload=redirect"))
                   and self.relay_pids(),
                   "virt-forwardd is connected to libvirt and to a relay", deadline)
        self.forwards()  # the turn of its loop in which it wrote that is over

    def kill(self, number=signal.SIGKILL):
        """Ends the daemon alone; its relay lives on."""
        os.kill(self.pid, number)
        return self._process.wait(30)

    def restart(self, number=signal.SIGKILL):
        self.kill(number)
        self.start()

    def kill_relay(self, number=signal.SIGKILL):
        pids = wait.until(self.relay_pids, "a relay runs", 10)
        for pid in pids:
            os.kill(pid, number)
        wait.until(lambda: not any(host.alive(pid) for pid in pids), "the relay has ended")

    @staticmethod
    def ssh_pids():
        return host.processes(SSH)

    @staticmethod
    def end_idle_ssh():
        """Ends virt-forward-ssh once it has no guest any more, as it would itself half a minute later."""
        wait.until(lambda: not host.processes("ssh"), "no ssh runs", 10)
        pids = Daemon.ssh_pids()
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        wait.until(lambda: not any(host.alive(pid) for pid in pids), "virt-forward-ssh has ended")

    def stop(self):
        """Ends daemon, relay and virt-forward-ssh. The daemon's exit status must be 0."""
        status = self.kill(signal.SIGTERM) if self.running else 0
        if self.relay_pids():
            self.kill_relay(signal.SIGTERM)
        for pid in self.ssh_pids():
            os.kill(pid, signal.SIGTERM)
        wait.until(lambda: not self.ssh_pids(), "virt-forward-ssh has ended")
        assert status == 0, f"virt-forwardd ended with {status} on SIGTERM"

    @staticmethod
    def log():
        try:
            with open(LOG, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def check_log(self):
        """No sanitizer complained."""
        found = [line for line in self.log().splitlines() if any(mark in line for mark in SANITIZER_MARKS)]
        assert not found, "\n".join(found)

    # --- what it says

    @staticmethod
    def forwards(domain=None, everything=False):
        """`virt-forward list --json`."""
        arguments = ["list", "--json"] + (["--all"] if everything else []) + ([domain] if domain else [])
        return json.loads(Cli(*arguments).stdout)

    def wait_forward(self, deadline=30.0, *, everything=False, **wanted):
        """The forward whose JSON members have these values (host_port= for host.port), as soon as it is there."""
        def value(forward, key):
            if key in ("host_port", "guest_port"):
                return forward.get(key[:-5], {}).get("port")
            return forward.get(key)

        last = []

        def found():
            last[:] = self.forwards(everything=everything)
            return next((f for f in last if all(value(f, key) == want for key, want in wanted.items())), None)

        try:
            return wait.until(found, f"a forward with {wanted}", deadline)
        except wait.Timeout as timeout:
            raise wait.Timeout(f"{timeout}; there are: {json.dumps(last)}") from None

    @staticmethod
    def wait_proven(deadline=30.0):
        """Until it knows of every active forward that a connection got through."""
        wait.until(lambda: "unproven" not in Cli("list").stdout, "all forwards are proven", deadline)


class Watch:
    """`virt-forward watch --json`, running. Use it in a with statement."""

    def __init__(self, *arguments):
        self.events = []
        self._process = subprocess.Popen([CLI, "watch", "--json", *arguments], stdin=subprocess.DEVNULL,
                                         stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        for line in self._process.stdout:
            self.events.append(json.loads(line))

    def wait(self, event, deadline=30.0, **wanted):
        """The first event of this kind whose forward has these JSON members."""
        def found():
            return next((e for e in list(self.events) if e["event"] == event
                         and all(e["forward"].get(key) == want for key, want in wanted.items())), None)

        try:
            return wait.until(found, f"event {event} {wanted}", deadline)
        except wait.Timeout as timeout:
            raise wait.Timeout(f"{timeout}; there were: {json.dumps(self.events)}") from None

    def over(self):
        """Whether it has ended by itself."""
        return self._process.poll() is not None

    def close(self):
        """Ends it and returns its exit status."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        status = self._process.wait(10)
        self._thread.join(10)
        self._process.stdout.close()
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
