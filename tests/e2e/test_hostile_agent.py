# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest whose agent is not ours but an enemy's. It costs the host bounded memory and processor time, says
nothing on a terminal, and its sibling, an honest guest, notices nothing."""
import contextlib
import math
import os
import random
import socket
import struct
import threading
import time

import pytest

import conftest
from lab import agents, host, programs, wait
from lab import guest as guests
from lab.programs import Cli

AUTO = guests.forwards("<vf:auto/>")
REPLY_OK = b"VFG\x1a" + struct.pack("<HHiI", 1, 0, 0, 0)
TOKEN = b"t" * 16


def frame(kind, payload):
    return struct.pack("<BBH", kind, 0, len(payload)) + payload


def hello():
    return frame(1, TOKEN + struct.pack("<IB", 0, 4) + b"evil")


def listens(port, name=b"x", command=b"", pid=1):
    return frame(2, struct.pack("<BBH16sIIBHH", 6, 4, port, bytes([127, 0, 0, 1]) + bytes(12), pid, 0, len(name),
                                len(command), 0) + name + command)


def gone(port):
    return frame(3, struct.pack("<BBH16s", 6, 4, port, bytes([127, 0, 0, 1]) + bytes(12)))


SYNCED = frame(4, struct.pack("<I", 0))


def endless_frames(control):
    control.sendall(REPLY_OK + hello())
    while True:
        control.sendall(frame(77, bytes(1024)) * 64)


def flapping_ports(control):
    control.sendall(REPLY_OK + hello() + SYNCED)
    while True:
        port = random.randrange(1024, 65536)
        control.sendall(listens(port) + gone(port) + listens(port ^ 1))


def all_ports(control):
    control.sendall(REPLY_OK + hello())
    for port in range(1024, 6000):
        control.sendall(listens(port, b"n" * 64, b"c" * 512))
    control.sendall(SYNCED)
    time.sleep(60)


def garbage(control):
    control.sendall(random.randbytes(100_000))


def bad_numbers(control):
    control.sendall(REPLY_OK + hello() + listens(0) + SYNCED)
    time.sleep(60)


def silence(control):
    time.sleep(60)


def never_reads(control):
    control.sendall(REPLY_OK + hello() + SYNCED)
    time.sleep(60)


def escapes(control):
    control.sendall(REPLY_OK + hello() + listens(3333, b"\x1b[31mred\x07\n\xff", b"\x1b]0;title\x07") + SYNCED)
    time.sleep(60)


class Enemy:
    """Takes every connection to an agent's socket; the first 160 bytes are the host's request."""

    def __init__(self, uuid, behave):
        self.path = f"{agents.DIRECTORY}/{uuid}"
        self._behave = behave
        self._open = []
        os.makedirs(agents.DIRECTORY, exist_ok=True)
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(self.path)
        os.chmod(self.path, 0o666)
        self._listening.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                control, _ = self._listening.accept()
                self._open.append(control)
                threading.Thread(target=self._serve, args=(control,), daemon=True).start()

    def _serve(self, control):
        with contextlib.suppress(OSError), control:
            self._behave(control)

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for control in self._open:
            with contextlib.suppress(OSError):
                control.shutdown(socket.SHUT_RDWR)
        os.unlink(self.path)


@pytest.fixture
def daemon(nothing_left):
    yield from conftest._daemon(*agents.DAEMON_OPTIONS)


@pytest.fixture
def enemy(guest):
    with contextlib.ExitStack() as closing:
        def make(behave):
            domain = guest("evil", AUTO, start=False)
            hostile = Enemy(domain.uuid, behave)
            closing.callback(hostile.close)
            domain.start_paused()
            return domain

        yield make


def usage(pid):
    """(seconds of processor time, resident MiB) of a process."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        pages = int(file.read().split()[1])
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), pages * 4096 / 1048576


def bounds():
    """Of processor time, as a part of the time that passes, of growth in MiB, and of the sibling's answers. AddressSanitizer
    keeps 256 MiB of what was freed, and costs three times the processor time: bounds for that would measure the machine."""
    with open(programs.DAEMON, "rb") as file:
        return (math.inf, 400, 10) if b"__asan_init" in file.read() else (0.6, 50, 50)


def echo_takes(port):
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), 5) as client:
        client.sendall(b"hello")
        assert client.recv(5) == b"hello"
    return time.monotonic() - began


@pytest.mark.parametrize("behave", [endless_frames, flapping_ports, all_ports, garbage, bad_numbers, silence,
                                    never_reads, escapes])
def test_it_costs_little_and_its_sibling_nothing(daemon, stand_in, enemy, behave):
    _, honest = stand_in(AUTO, "good")
    honest.serve(2999)
    daemon.wait_forward(host_port=2999, state="active")
    pids = {"daemon": daemon.pid, "relay": daemon.relay_pids()[0]}
    before = {name: usage(pid) for name, pid in pids.items()}
    enemy(behave)
    seconds = 5
    end = time.monotonic() + seconds
    takes = []
    while time.monotonic() < end:
        takes.append(echo_takes(2999))
        time.sleep(0.02)
    after = {name: usage(pid) for name, pid in pids.items()}
    busiest, largest, fewest = bounds()
    for name in pids:
        spent, grown = (after[name][i] - before[name][i] for i in (0, 1))
        print(f"{behave.__name__}: {name} {spent:.2f} s of {seconds}, {grown:+.1f} MiB")
        assert spent < busiest * seconds, f"{name} is kept busy"
        assert grown < largest, f"{name} grows"
    takes.sort()
    print(f"echo of the sibling: median {takes[len(takes) // 2] * 1000:.1f} ms, worst {takes[-1] * 1000:.1f} ms")
    assert len(takes) >= fewest
    # a sibling that opens a port is noticed as ever
    honest.serve(2998)
    daemon.wait_forward(deadline=5, host_port=2998, state="active")
    # at most what the cap allows, and said
    of_enemy = daemon.forwards("evil")
    assert len(of_enemy) <= 256
    if behave is all_ports:
        assert len(of_enemy) == 256
        wait.until(lambda: "more ports" in Cli("list", "evil").stderr, "what is left out is told")
    assert not any(host.alive(pid) is False for pid in pids.values())
    for text in (Cli("list").stdout, Cli("list", "--json").stdout, daemon.log()):
        assert "\x1b" not in text and "\x07" not in text
    assert daemon.log().count("\n") < 2000
