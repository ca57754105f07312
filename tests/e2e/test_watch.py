# SPDX-License-Identifier: LGPL-2.1-or-later
"""`virt-forward watch` on a terminal: a real pseudo-terminal, and an emulator that reads what it writes."""
import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import threading

import pyte
import pytest

from lab import guest as guests
from lab import wait
from lab.programs import CLI, Cli
from lab.transfer import Echo

FORWARDS = ("<vf:forward name='site' guest-port='80' host-port='8080'/>"
            "<vf:forward name='echo' guest-port='7' host-port='7070'/>")


class Terminal:
    """`virt-forward watch` in a terminal of that size."""

    def __init__(self, *arguments, columns=100, lines=24, term="linux"):
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self.raw = b""
        self._master, self._slave = pty.openpty()
        self._size(columns, lines)
        self.before = termios.tcgetattr(self._slave)

        def own_terminal():
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        environment = {name: value for name, value in os.environ.items() if name not in ("LINES", "COLUMNS")}
        self.process = subprocess.Popen(
            [CLI, "watch", *arguments], stdin=self._slave, stdout=self._slave, stderr=self._slave,
            start_new_session=True, preexec_fn=own_terminal, env={**environment, "TERM": term, "LC_ALL": "C.UTF-8"})
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _size(self, columns, lines):
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def _read(self):
        while not self._over.is_set():
            if not select.select([self._master], [], [], 0.1)[0]:
                continue
            data = os.read(self._master, 65536)
            with self._lock:
                self.raw += data
                self._stream.feed(data)

    def resize(self, columns, lines):
        with self._lock:
            self._screen.resize(lines, columns)
            self._screen.reset()
            self._size(columns, lines)

    def text(self):
        with self._lock:
            return [line.rstrip() for line in self._screen.display]

    def wait(self, condition, what):
        try:
            return wait.until(lambda: condition(self.text()), what)
        except wait.Timeout as timeout:
            raise wait.Timeout("\n".join([str(timeout), *self.text()])) from None

    def type(self, keys):
        os.write(self._master, keys)

    def attributes(self):
        return termios.tcgetattr(self._slave)

    def end(self, number=signal.SIGINT):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(20)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._over.set()
        self._thread.join(10)
        os.close(self._master)
        os.close(self._slave)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def row(lines, word):
    return next((line for line in lines if word in line), "")


@pytest.fixture(scope="module")
def daemon(shared_daemon):
    return shared_daemon


@pytest.fixture
def web(daemon, guest):
    paused = guest("web", guests.forwards(FORWARDS), start=False)
    paused.start_paused()
    daemon.wait_forward(name="site", state="waiting")
    return paused


def test_changes_are_drawn_in_place(web):
    with Terminal() as terminal:
        lines = terminal.wait(lambda text: "site" in row(text, "8080") and text, "the forwards are there")
        assert lines[0].startswith("2 forwards, 0 active, 0 connections")
        assert lines[1].split() == ["DOMAIN", "NAME", "URL", "GUEST", "WAY", "STATE", "CONN", "IN", "OUT"]
        assert "waiting" in row(lines, "site") and "no address" in lines[lines.index(row(lines, "site")) + 1]
        place = lines[1].index("STATE")

        Cli("add", "web", "9000:90", "--name", "third")
        lines = terminal.wait(lambda text: row(text, "third") and text, "a new one is drawn")
        assert lines[0].startswith("3 forwards")
        assert lines[1].index("STATE") == place + 1, "its name is a letter longer"
        Cli("remove", "web", "third")
        lines = terminal.wait(lambda text: not row(text, "third") and text, "it is gone")
        assert sum("site" in line for line in lines) == 1
        assert lines[1].index("STATE") == place + 1, "no column jumps back"
        assert terminal.end() == 0


def test_a_narrow_one_and_a_change_of_size(web):
    with Terminal(columns=34, lines=8) as terminal:
        terminal.wait(lambda text: row(text, "8080") and text[1].split() == ["URL", "STATE"], "URL and state alone")
        assert "waiting" in row(terminal.text(), "8080")
        terminal.resize(110, 30)
        terminal.wait(lambda text: row(text, "8080") and "OUT" in text[1], "all columns")
        terminal.resize(60, 3)
        terminal.wait(lambda text: "of 4" in text[0] and "7070" in text[2], "a line of four")
        terminal.type(b"\x1b[B\x1b[B")
        terminal.wait(lambda text: "8080" in text[2], "scrolled by two")
        terminal.resize(5, 1)
        terminal.wait(lambda text: text[0].startswith("2 fo"), "the first columns")
        assert terminal.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("ending", ["q", "interrupt", "daemon"])
def test_the_terminal_is_as_it_was(daemon, web, ending):
    with Terminal(term="xterm-256color") as terminal:
        wait.until(lambda: b"8080" in terminal.raw, "it is drawn")
        assert b"\x1b[?1049h" in terminal.raw and b"\x1b[?25l" in terminal.raw
        assert not terminal.attributes()[3] & termios.ICANON
        if ending == "q":
            terminal.type(b"q")
            assert terminal.process.wait(20) == 0
        elif ending == "interrupt":
            terminal.type(b"\x03")
            assert terminal.process.wait(20) == 0
        else:
            daemon.restart(signal.SIGTERM)
            assert terminal.process.wait(20) == 7
            wait.until(lambda: b"went away" in terminal.raw.rpartition(b"\x1b[?1049l")[2], "the reason stands below")
            daemon.wait_connected()
        wait.until(lambda: b"\x1b[?1049l" in terminal.raw, "the other screen is left")
        assert terminal.raw.rindex(b"\x1b[?25h") > terminal.raw.rindex(b"\x1b[?25l")
        assert terminal.attributes() == terminal.before


def test_counters(daemon, guest):
    booted = guest("web", guests.forwards("<vf:forward name='echo' guest-port='7' host-port='7070' offload='none'/>"))
    booted.run("listen 7 cat")
    daemon.wait_forward(name="echo", state="active")
    with Terminal() as terminal:
        terminal.wait(lambda text: "active" in row(text, "echo"), "it is active")
        with contextlib.ExitStack() as opened:
            for _ in range(2):
                opened.enter_context(Echo(7070)).say()
            terminal.wait(lambda text: row(text, "echo").split()[-3:-2] == ["2"] and "2 connections" in text[0],
                          "two connections are counted")
        terminal.wait(lambda text: "0 connections" in text[0], "and gone")
        assert terminal.end() == 0


def test_lines_where_there_is_no_table(web):
    """A pipe reads JSON, and so does who asks for it; a terminal without a cursor reads text."""
    with Terminal(term="dumb") as terminal:
        terminal.wait(lambda text: text[0].startswith("added ") and "8080" in "".join(text), "lines of text")
    with Terminal("--json", columns=2000) as terminal:
        terminal.wait(lambda text: text[0].startswith('{"event":"added"') and json.loads(text[0]), "lines of JSON")
    piped = subprocess.Popen([CLI, "watch"], stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    try:
        assert json.loads(piped.stdout.readline())["event"] == "added"
        Cli("add", "web", "9000:90", "--name", "last")  # once it is told, signals are handled
        while json.loads(piped.stdout.readline())["forward"].get("name") != "last":
            pass
    finally:
        piped.terminate()
        assert piped.wait(20) == 0
        piped.stdout.close()
