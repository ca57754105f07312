# SPDX-License-Identifier: LGPL-2.1-or-later
"""Guests with an ssh server, keys for them, and virt-forward-ssh without a daemon."""
import contextlib
import os
import pwd
import socket
import struct
import subprocess
import tempfile

from . import wait

PROGRAM = "/usr/sbin/virt-forward-ssh"
USER = "virt-forward-ssh"


class Key:
    """A key pair as the host policy may name one: `path` is readable to virt-forward-ssh alone."""

    def __init__(self, name="lab", directory=None):
        self.name = name
        directory = directory or tempfile.mkdtemp(prefix="keys-")
        os.chmod(directory, 0o755)
        self.path = f"{directory}/{name}"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", self.path], check=True)
        account = pwd.getpwnam(USER)
        os.chown(self.path, account.pw_uid, account.pw_gid)
        with open(f"{self.path}.pub", "rb") as file:
            self.public = file.read()


# --- the daemon's side of wire/ssh.h, as far as it is needed here

def _text(value):
    return struct.pack("=H", len(value)) + value.encode()


def _message(kind, body=b""):
    return struct.pack("=IHH", 8 + len(body), kind, 0) + body


def _localhost(port):
    return struct.pack("=BH", 7, port)


def _unix(path):
    return struct.pack("=BB", 8, len(path)) + path.encode()


class Client:
    """A daemon's connection to virt-forward-ssh, with orders for one guest."""

    def __init__(self, control_path):
        self._daemon = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._daemon.settimeout(30 * wait.SLOWNESS)
        self._daemon.connect(control_path)
        self._daemon.send(_message(1, struct.pack("=III", 1, 0, os.getpid())))
        self.phase, self.reason, self.tunnels = None, "", {}

    def order(self, uuid, key, *, address=None, cid=None, ports=(), paths=()):
        destinations = []
        if address:
            destinations.append(struct.pack("=BH", 1, 22) + socket.inet_aton(address))
        if cid:
            destinations.append(struct.pack("=BII", 4, cid, 22))
        targets = [_localhost(port) for port in ports] + [_unix(path) for path in paths]
        self._daemon.send(_message(2, _text(uuid) + bytes([len(destinations)]) + b"".join(destinations)
                                   + _text("root") + _text(key.path) + struct.pack("=H", len(targets))
                                   + b"".join(targets)))

    def tunnel(self, target):
        """The path at which connections to it (a port, or a path in the guest) begin, once it is laid."""
        def laid():
            if target not in self.tunnels:
                self._take(self._daemon.recv(1 << 17))
            return self.tunnels.pop(target, None)

        try:
            return wait.until(laid, f"a tunnel to {target}", 60)
        except wait.Timeout as late:
            raise AssertionError(f"{late}: {self.reason}") from None

    def fails(self):
        """The reason of the next failure."""
        while True:
            self._take(self._daemon.recv(1 << 17))
            if self.phase == 2:
                return self.reason

    def _take(self, packet):
        kind = struct.unpack_from("=H", packet, 4)[0]
        body = packet[8:]
        if kind not in (6, 7):
            return

        def text():
            nonlocal body
            length = struct.unpack_from("=H", body)[0]
            value, body = body[2:2 + length].decode(), body[2 + length:]
            return value

        text()
        if kind == 6:
            self.phase, body = body[0], body[1:]
            self.reason = text()
            return
        if body[0] == 7:
            target, body = struct.unpack_from("=H", body, 1)[0], body[3:]
        else:
            target, body = body[2:2 + body[1]].decode(), body[2 + body[1]:]
        path, self.reason = text(), text()
        if path:
            self.tunnels[target] = path

    def close(self):
        self._daemon.close()


class Program(Client):
    """virt-forward-ssh, started as the daemon does."""

    def __init__(self):
        directory = tempfile.mkdtemp(prefix="ssh-")  # a short path: sockets are in it
        os.chmod(directory, 0o755)
        self.sockets, self.state = f"{directory}/s", f"{directory}/k"
        account = pwd.getpwnam(USER)
        for path in (self.sockets, self.state):
            os.mkdir(path)
            os.chown(path, account.pw_uid, account.pw_gid)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as control:
            control.bind(f"{directory}/control")
            control.listen()
            number = control.fileno()
            self.process = subprocess.Popen(
                [PROGRAM, f"--control-fd={number}", f"--sockets={self.sockets}", f"--state={self.state}"],
                pass_fds=[number], user=USER, group=account.pw_gid, extra_groups=[], stdin=subprocess.DEVNULL)
        super().__init__(f"{directory}/control")

    def close(self):
        super().close()
        self.process.terminate()
        assert self.process.wait(30) == 0


def says(path, text=b"hello"):
    """What an echo service at the end of a tunnel sends back until it has ended."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
        client.settimeout(30 * wait.SLOWNESS)
        client.connect(path)
        client.sendall(text)
        client.shutdown(socket.SHUT_WR)
        return client.makefile("rb").read()
