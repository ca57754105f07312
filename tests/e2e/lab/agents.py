# SPDX-License-Identifier: LGPL-2.1-or-later
"""The guest's side without a guest: a network namespace that plays it, with the real virt-forward-guest in
it. The agent listens on a unix socket instead of on vsock, which this machine's kernel does not lend: the
daemon finds it there with --agent-directory. (tests/e2e/nested has the same with real guests and vsock.)
"""
import contextlib
import os
import signal
import subprocess
import sys

from . import wait

AGENT = "/usr/sbin/virt-forward-guest"
DIRECTORY = "/run/lab/agents"
SERVE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "serve.py")
# The block data of guest-image.
DATA = r"""#!/bin/sh
printf 'Content-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n' $((QUERY_STRING * 1048576))
exec python3 -c '
import sys
block = b"".join(b"%07d\n" % number for number in range(131070))
for number in range(int(sys.argv[1])):
    sys.stdout.buffer.write(b"%015d\n" % number + block)
' "$QUERY_STRING"
"""
DAEMON_OPTIONS = ("--agent-directory", DIRECTORY)


class Service:
    """A process in the guest that listens (see serve.py)."""

    def __init__(self, command):
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ready = self._moment("ready")

    @property
    def pid(self):
        return self._process.pid

    def _moment(self, word):
        line = self._process.stdout.readline().split()
        assert line and line[0] == word, f"{word} expected, got {line}"
        return float(line[1])

    def stop_listening(self):
        """Closes the listening socket; the moment of it. Connections go on."""
        self._process.stdin.write("close\n")
        self._process.stdin.flush()
        return self._moment("closed")

    def close(self):
        self._process.kill()
        self._process.communicate()


class StandIn:
    """A guest's network, and its agent. Use it in a with statement."""

    def __init__(self, uuid, name="guest"):
        self.path = f"{DIRECTORY}/{uuid}"
        self._name = name
        self._namespace = f"vf-{name}"
        self._log = f"/run/lab/{name}.agent.log"
        self._agent = None
        self._services = []
        os.makedirs(DIRECTORY, exist_ok=True)
        subprocess.run(["ip", "netns", "add", self._namespace], check=True)
        self.run("ip", "link", "set", "lo", "up")

    def _inside(self, *command):
        return ["ip", "netns", "exec", self._namespace, *command]

    def run(self, *command, check=True):
        return subprocess.run(self._inside(*command), check=check, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)

    def start_agent(self, *options):
        with open(self._log, "ab") as log:
            self._agent = subprocess.Popen(
                self._inside(AGENT, "--listen", f"unix:{self.path}", *options), stdout=log, stderr=log)
        wait.until(lambda: os.path.exists(self.path), "the agent listens", 10)
        os.chmod(self.path, 0o666)  # the relay is no root
        return self

    def kill_agent(self, number=signal.SIGKILL):
        self._agent.send_signal(number)
        self._agent.wait(10)
        self._agent = None
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def serve(self, port, address="127.0.0.1", *options):
        """A service that listens there when this returns."""
        service = Service(self._inside(sys.executable, SERVE, *options, address, str(port)))
        self._services.append(service)
        return service

    def stop_services(self):
        """Ends all that serve() and serve_web() started, and their connections."""
        for service in self._services:
            if isinstance(service, Service):
                service.close()
            else:
                service.kill()
                service.wait(10)
        self._services.clear()

    def serve_web(self, port=80):
        """The web server of a lab guest of this name (see guest-image), as far as Transfer needs it."""
        root = f"/run/lab/www-{self._name}"
        os.makedirs(f"{root}/cgi-bin", exist_ok=True)
        for path, text in (("index.html", f"virt-forward lab guest {self._name}\n"), ("cgi-bin/data", DATA)):
            with open(f"{root}/{path}", "w", encoding="ascii") as file:
                file.write(text)
            os.chmod(f"{root}/{path}", 0o755)
        server = subprocess.Popen(self._inside("busybox", "httpd", "-f", "-h", root, "-p", str(port)))
        self._services.append(server)
        wait.until(lambda: f":{port} " in self.run("ss", "-Hltn").stdout, "the web server listens", 10)

    def log(self):
        with contextlib.suppress(FileNotFoundError), open(self._log, encoding="utf-8", errors="replace") as file:
            return file.read()
        return ""

    def close(self):
        self.stop_services()
        if self._agent is not None:
            self.kill_agent(signal.SIGTERM)
        subprocess.run(["ip", "netns", "delete", self._namespace], check=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            print(f"--- the agent said\n{self.log()}")
        self.close()
