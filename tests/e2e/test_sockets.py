# SPDX-License-Identifier: LGPL-2.1-or-later
"""host-socket and guest-socket: a path on either side instead of a port."""
import os
import signal
import socket
import stat

import pytest

import conftest
from lab import agents, wait
from lab import guest as guests
from lab.programs import Cli

DIRECTORY = "/run/vf-sockets"
POLICY = "/etc/virt-forward/virt-forward.conf.d/sockets.conf"


@pytest.fixture
def daemon(nothing_left):
    os.makedirs(DIRECTORY, exist_ok=True)
    os.makedirs(os.path.dirname(POLICY), exist_ok=True)
    with open(POLICY, "w", encoding="utf-8") as file:
        file.write(f"[host]\nsocket-directories = {DIRECTORY}\n")
    yield from conftest._daemon(*agents.DAEMON_OPTIONS)
    os.unlink(POLICY)
    os.rmdir(DIRECTORY)  # nothing is in it


def answers(path, text=b"hello"):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(path)
        client.sendall(text)
        client.shutdown(socket.SHUT_WR)
        got = b""
        while data := client.recv(65536):
            got += data
        return got


def test_a_host_socket(daemon, stand_in):
    domain, inside = stand_in(guests.forwards("<vf:forward guest-port='5432' host-socket='pg.sock'/>"))
    inside.serve(5432)
    path = f"{DIRECTORY}/pg.sock"
    forward = daemon.wait_forward(state="active")
    assert forward["host"]["socket"] == path
    assert "port" not in forward["host"]
    assert stat.S_ISSOCK(os.stat(path).st_mode)
    assert answers(path) == b"hello"
    daemon.restart(signal.SIGKILL)
    daemon.wait_forward(state="active")
    assert answers(path) == b"hello"
    daemon.restart(signal.SIGTERM)
    daemon.wait_forward(state="active")
    assert answers(path) == b"hello"
    domain.domain.destroy()
    wait.until(lambda: not os.path.exists(path), "the socket's file is gone", 5)


def test_add_prints_the_path(daemon, stand_in):
    _, inside = stand_in(guests.forwards(""))
    inside.serve(5432)
    path = f"{DIRECTORY}/pg.sock"
    assert Cli("add", "web", "pg.sock:5432").stdout == path + "\n"
    wait.until(lambda: answers(path) == b"hello", "it answers", 10)
    Cli("remove", "web", daemon.forwards()[0]["id"])
    assert not os.path.exists(path)


def test_somebody_elses_socket_is_left_alone(daemon, stand_in):
    stand_in(guests.forwards(""))
    path = f"{DIRECTORY}/pg.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen()
        assert Cli("add", "web", "pg.sock:5432", check=False).status == 5
    os.unlink(path)


def test_a_guest_socket(daemon, stand_in):
    stand_in(guests.forwards("<vf:forward guest-socket='/run/inside.sock' host-port='8080'/>"))
    with socket.socket(socket.AF_UNIX) as service:
        service.settimeout(10)
        service.bind("/run/inside.sock")
        service.listen()
        daemon.wait_forward(host_port=8080, state="active")
        with socket.create_connection(("127.0.0.1", 8080), 5) as client:
            client.sendall(b"question")
            accepted, _ = service.accept()
            with accepted:
                assert accepted.recv(100) == b"question"
                accepted.sendall(b"answer")
            assert client.recv(100) == b"answer"
    os.unlink("/run/inside.sock")
