# SPDX-License-Identifier: LGPL-2.1-or-later
"""Real daemons on libvirt's test driver, and guests that are a network namespace with the real agent in it."""
import json
import os
import signal
import subprocess
import uuid

from session import until

BUILD = os.environ["VF_BUILD_DIR"]
HERE = os.path.dirname(os.path.abspath(__file__))
DAEMON = f"{BUILD}/src/daemon/virt-forwardd"
CLI = f"{BUILD}/src/cli/virt-forward"
AGENT = f"{BUILD}/src/guest/virt-forward-guest"
SUPPRESSIONS = os.path.join(HERE, "..", "e2e", "lab", "leak-suppressions")
os.environ["LSAN_OPTIONS"] = f"suppressions={SUPPRESSIONS}:print_suppressions=0"
DOMAIN = """
  <domain type='test' xmlns:test='http://libvirt.org/schemas/domain/test/1.0'>
    <name>{name}</name><uuid>{uuid}</uuid>
    <metadata><vf:forwards xmlns:vf='urn:virt-forward:1'>{forwards}</vf:forwards></metadata>
    <memory unit='MiB'>64</memory><os><type>hvm</type></os>
    <test:runstate>{state}</test:runstate>
  </domain>"""
RUNNING, OFF = 1, 5


def uuid_of(name):
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


def machine(name, forwards="", state=RUNNING):
    return DOMAIN.format(name=name, uuid=uuid_of(name), forwards=forwards, state=state)


class Daemon:
    """virt-forwardd as the user's own, with these machines. Use it in a with statement."""

    def __init__(self, *machines, runtime=None):
        self.runtime = runtime or os.environ["XDG_RUNTIME_DIR"] + "/virt-forward"
        self.address = f"unix:path={self.runtime}/bus.sock"
        self._machines = machines
        self._process = None
        self._others = relays()  # of daemons that run already
        self.log = "/run/panel/virt-forwardd.log"

    def __enter__(self):
        os.makedirs(self.runtime, exist_ok=True)
        path = self.runtime + "/machines.xml"
        with open(path, "w", encoding="utf-8") as file:
            file.write("<node>" + "".join(self._machines) + "</node>")
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                [DAEMON, "--connect", f"test://{path}", "--runtime-directory", self.runtime,
                 "--policy-directory", "/run/panel/policy", "--agent-directory", "/run/panel/agents", "--bus", "none",
                 "--relay", f"{BUILD}/src/relay/virt-forward-relay", "--relay-user", "", "--ssh", ""],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(lambda: self.cli("list", "--json", check=False).returncode == 0, "the daemon answers", 60)
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(20)
        for pid in self.relays():
            os.kill(pid, signal.SIGTERM)
        until(lambda: not self.relays(), "the relay has ended")
        assert status == 0

    def signal(self, number):
        self._process.send_signal(number)

    def kill(self):
        self._process.kill()
        self._process.wait(10)

    def relays(self):
        """Of this daemon."""
        return [pid for pid in relays() if pid not in self._others]

    def cli(self, *words, check=True):
        return subprocess.run([CLI, "--address", self.address, *words], capture_output=True, text=True, timeout=60,
                              check=check)

    def forwards(self):
        return json.loads(self.cli("list", "--json").stdout)

    def wait_forward(self, what, condition):
        return until(lambda: next((one for one in self.forwards() if condition(one)), None), what)


def relays():
    """Those that have not ended."""
    return [int(one) for one in subprocess.run(["pgrep", "-r", "R,S,D,T", "-f", "virt-forward-relay "], capture_output=True, text=True)
            .stdout.split()]


class Guest:
    """The network of a machine, with our agent in it. Use it in a with statement."""

    def __init__(self, name):
        self._name = name
        self._namespace = "vf-" + name
        self._processes = []

    def __enter__(self):
        os.makedirs("/run/panel/agents", exist_ok=True)
        subprocess.run(["ip", "netns", "add", self._namespace], check=True)
        subprocess.run(self._inside("ip", "link", "set", "lo", "up"), check=True)
        config = "/run/panel/guest.conf"
        with open(config, "w", encoding="ascii"):
            pass
        self._start(AGENT, f"--listen=unix:/run/panel/agents/{uuid_of(self._name)}", f"--config={config}")
        return self

    def _inside(self, *command):
        return ["ip", "netns", "exec", self._namespace, *command]

    def _start(self, *command, **options):
        with open("/run/panel/guest.log", "ab") as log:
            process = subprocess.Popen(self._inside(*command), stdin=subprocess.DEVNULL, stderr=log, **options)
        self._processes.append(process)
        return process

    def serve(self, process, port, address="0.0.0.0"):
        """An HTTP server whose process has this name."""
        started = self._start("/usr/bin/python3", f"{HERE}/serve.py", process, address, str(port),
                              stdout=subprocess.PIPE, text=True)
        assert started.stdout.readline() == "ready\n"
        return started

    def __exit__(self, *_):
        for process in reversed(self._processes):
            process.terminate()
            process.wait(20)
            if process.stdout:
                process.stdout.close()
        subprocess.run(["ip", "netns", "del", self._namespace], check=True)
