# SPDX-License-Identifier: LGPL-2.1-or-later
"""Ports open by themselves: a service begins to listen in the guest and is on the host's localhost, under
its process's name, until it ends. The guest's side is lab/agents.py."""
import contextlib
import json
import socket
import time

import pytest

import conftest
from lab import agents, wait
from lab import guest as guests
from lab.programs import Cli, Watch

AUTO = guests.forwards("<vf:auto/>")


@pytest.fixture
def daemon(nothing_left):
    yield from conftest._daemon(*agents.DAEMON_OPTIONS)


def answers(port, text=b"hello", host="127.0.0.1"):
    """What comes back from an echo service."""
    with socket.create_connection((host, port), 5) as client:
        client.sendall(text)
        client.shutdown(socket.SHUT_WR)
        got = b""
        while data := client.recv(65536):
            got += data
        return got


def refuses(port):
    try:
        socket.create_connection(("127.0.0.1", port), 2).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_service_appears_and_goes(daemon, stand_in):
    _, inside = stand_in(AUTO)
    service = inside.serve(3000, "127.0.0.1", "--name", "devserver")
    forward = daemon.wait_forward(host_port=3000, state="active")
    assert forward["origin"] == "auto"
    assert forward["transport"] == "vsock"
    assert forward["process"]["name"] == "devserver"
    assert forward["url"] == "http://127.0.0.1:3000"
    assert answers(3000) == b"hello"
    assert answers(3000, host="::1") == b"hello"
    service.stop_listening()
    wait.until(lambda: refuses(3000), "port 3000 refuses", 5)
    wait.until(lambda: not daemon.forwards(), "the forward is gone when its grace is over", 15)
    daemon.check_log()


def test_a_service_that_comes_back_has_its_port(daemon, stand_in):
    _, inside = stand_in(AUTO)
    first = inside.serve(3000)
    daemon.wait_forward(host_port=3000, state="active")
    first.stop_listening()
    wait.until(lambda: refuses(3000), "port 3000 refuses", 5)
    with pytest.raises(OSError):  # it is kept
        socket.create_server(("127.0.0.1", 3000)).close()
    inside.serve(3000)
    wait.until(lambda: not refuses(3000), "port 3000 accepts again", 5)
    assert answers(3000) == b"hello"


def test_low_ports_and_taken_ones(daemon, stand_in):
    with socket.create_server(("127.0.0.1", 4000)):
        _, inside = stand_in(AUTO)
        inside.serve(80)
        inside.serve(4000)
        daemon.wait_forward(guest_port=80, host_port=8080, state="active")
        moved = daemon.wait_forward(guest_port=4000, host_port=4001, state="active")
        assert moved["host"]["requested-port"] == 4000
        assert answers(8080) == answers(4001) == b"hello"


def test_two_families_are_one_port(daemon, stand_in):
    _, inside = stand_in(AUTO)
    first = inside.serve(3000, "0.0.0.0")
    daemon.wait_forward(host_port=3000, state="active")
    second = inside.serve(3000, "::")
    second.stop_listening()
    time.sleep(0.3)
    assert answers(3000) == b"hello"
    assert len(daemon.forwards()) == 1
    first.stop_listening()
    wait.until(lambda: refuses(3000), "port 3000 refuses", 5)


def test_rules_decide(daemon, stand_in):
    rules = ("<vf:auto><vf:rule action='block' guest-port='3001'/>"
             "<vf:rule process='data*' host-port='15000' label='database'/>"
             "<vf:rule action='ignore' guest-port='9000-9999'/></vf:auto>")
    _, inside = stand_in(guests.forwards(rules))
    inside.serve(3001)
    inside.serve(9100)
    inside.serve(5000, "127.0.0.1", "--name", "database")
    forward = daemon.wait_forward(guest_port=5000, host_port=15000, state="active")
    assert forward["label"] == "database"
    assert [one["guest"]["port"] for one in daemon.forwards()] == [5000]


def test_udp_where_a_rule_says_so(daemon, stand_in):
    _, inside = stand_in(guests.forwards("<vf:auto><vf:rule protocol='udp' guest-port='6969'/></vf:auto>"))
    inside.serve(6969, "127.0.0.1", "--udp")
    inside.serve(7070, "127.0.0.1", "--udp")
    forward = daemon.wait_forward(host_port=6969, state="active")
    assert forward["protocol"] == "udp"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", 6969))
        client.settimeout(0.5)

        def comes_back():
            client.send(b"hello")
            with contextlib.suppress(socket.timeout):
                return client.recv(100) == b"hello"

        wait.until(comes_back, "a datagram comes back", 10)
    assert len(daemon.forwards()) == 1


def test_what_every_guest_has_stays_inside(daemon, stand_in):
    _, inside = stand_in(AUTO)
    inside.serve(5353)
    inside.serve(3000)
    daemon.wait_forward(host_port=3000, state="active")
    ports = {one["port"]: one for one in json.loads(Cli("auto", "web", "--json").stdout)["ports"]}
    assert ports[5353]["state"] == "denied"
    assert "5353" not in Cli("list").stdout


def test_a_definition_has_its_port_before_a_guess(daemon, stand_in):
    domain, inside = stand_in(AUTO)
    inside.serve(80)
    daemon.wait_forward(guest_port=80, host_port=8080, state="active")
    assert Cli("add", "web", "8080:7000").stdout == "8080\n"
    daemon.wait_forward(guest_port=80, host_port=8081)
    assert answers(8081) == b"hello"
    assert domain.name == "web"


def test_a_definition_takes_the_place_of_an_automatic_forward(daemon, stand_in):
    _, inside = stand_in(AUTO)
    inside.serve(5173, "127.0.0.1", "--name", "vite")
    daemon.wait_forward(host_port=5173, state="active")
    assert Cli("url", "web", "vite").stdout == "http://127.0.0.1:5173\n"
    refused = Cli("remove", "web", "vite", check=False)
    assert refused.status == 1 and "block" in refused.stderr
    with socket.create_connection(("127.0.0.1", 5173), 5) as open_one:
        assert Cli("add", "web", "5173:5173", "--name", "mine").stdout == "5173\n"
        assert answers(5173) == b"hello"
        open_one.sendall(b"still")
        assert open_one.recv(5) == b"still"
    Cli("remove", "web", "mine")
    daemon.wait_forward(origin="auto", guest_port=5173, state="active")
    assert Cli("add", "web", "9005:5173").stdout == "9005\n"
    assert answers(9005) == b"hello"


def test_block_and_unblock(daemon, stand_in):
    domain, inside = stand_in(AUTO)
    inside.serve(3000)
    daemon.wait_forward(host_port=3000, state="active")
    with socket.create_connection(("127.0.0.1", 3000), 5) as open_one:
        open_one.sendall(b"ping")
        assert open_one.recv(4) == b"ping"
        Cli("block", "web", "3000")
        assert refuses(3000)
        open_one.settimeout(5)
        with pytest.raises(ConnectionResetError):
            while open_one.recv(1):
                pass
    assert not daemon.forwards()
    assert "3000" in domain.domain.metadata(2, guests.NAMESPACE)
    # What somebody asks for is served all the same, and the block outlasts it.
    done = Cli("add", "web", "3000:3000")
    assert done.stdout == "3000\n" and "3000 stays blocked" in done.stderr
    assert answers(3000) == b"hello"
    Cli("remove", "web", "3000")
    assert refuses(3000)
    Cli("unblock", "web", "3000")
    assert answers(3000) == b"hello"


def test_ask_and_allow(daemon, stand_in):
    """Nothing is forwarded before somebody says so; then what the rule says, for this run."""
    domain, inside = stand_in(guests.forwards(
        "<vf:auto><vf:rule action='ask' guest-port='3000-3009' host-port='13000-13009' label='shop'/>"
        "<vf:rule action='block'/></vf:auto>"))
    for port in (3000, 3001):
        inside.serve(port, "127.0.0.1", "--name", "devserver")
    inside.serve(3002, "127.0.0.1", "--name", "other")

    def states():
        return {one["port"]: one["state"] for one in json.loads(Cli("auto", "web", "--json").stdout)["ports"]}

    wait.until(lambda: states() == {3000: "asking", 3001: "asking", 3002: "asking"}, "three ports are asking", 15)
    assert not daemon.forwards()
    Cli("allow", "web", "3000")
    forward = daemon.wait_forward(guest_port=3000, host_port=13000, state="active")
    assert forward["label"] == "shop"
    assert answers(13000) == b"hello"
    assert states() == {3000: "forwarded", 3001: "asking", 3002: "asking"}
    nobody = Cli("allow", "web", "3009", "--process", check=False)
    assert nobody.status == 3 and "no process" in nobody.stderr
    Cli("allow", "web", "3001", "--process")
    daemon.wait_forward(guest_port=3001, host_port=13001, state="active")
    assert states()[3002] == "asking"
    inside.serve(4000, "127.0.0.1", "--name", "devserver")  # the rule does not ask about this one
    wait.until(lambda: states().get(4000) == "blocked", "port 4000 is blocked", 15)
    Cli("block", "web", "3000")
    assert refuses(13000)
    Cli("unblock", "web", "3000")  # the answer of the process
    assert answers(13000) == b"hello"
    for target in (1, 2):  # live and config: what was said of the port is undone, of the process it lasts
        assert domain.domain.metadata(2, guests.NAMESPACE, target).count("marked") == 1


def test_allow_is_undone(daemon, stand_in):
    """Of a port, of a process by its port, and of one that has gone by its name."""
    domain, inside = stand_in(guests.forwards("<vf:auto><vf:rule action='ask'/></vf:auto>"))
    inside.serve(3000, "127.0.0.1", "--name", "devserver")
    inside.serve(3001, "127.0.0.1", "--name", "devserver")

    def states():
        return {one["port"]: one["state"] for one in json.loads(Cli("auto", "web", "--json").stdout)["ports"]}

    def marked():
        return [domain.domain.metadata(2, guests.NAMESPACE, target).count("marked") for target in (1, 2)]

    wait.until(lambda: states() == {3000: "asking", 3001: "asking"}, "two ports are asking", 15)
    nothing = Cli("allow", "web", "3000", "--undo", check=False)
    assert nothing.status == 3 and "is not allowed by" in nothing.stderr
    Cli("allow", "web", "3000")
    daemon.wait_forward(guest_port=3000, state="active")
    with socket.create_connection(("127.0.0.1", 3000), 5) as open_one:
        open_one.sendall(b"still")
        assert open_one.recv(5) == b"still"
        Cli("allow", "web", "3000", "--undo")
        assert states()[3000] == "asking"
        assert refuses(3000)
        with pytest.raises(ConnectionResetError):
            while open_one.recv(1):
                pass
    Cli("allow", "web", "3000", "--process")
    daemon.wait_forward(guest_port=3001, state="active")
    assert marked() == [1, 1]
    Cli("allow", "web", "3001", "--undo")  # whatever lets it through
    assert states() == {3000: "asking", 3001: "asking"}
    Cli("allow", "web", "3000", "--process")
    assert Cli("allow", "web", "dev*", "--undo", check=False).status == 3
    for no_port in ("", "0", "99999", "3000/sctp"):  # nor a process
        assert Cli("allow", "web", no_port, "--undo", check=False).status == 2
    Cli("allow", "web", "devserver", "--undo")
    assert states() == {3000: "asking", 3001: "asking"}
    assert marked() == [0, 0]


def test_both_restart(daemon, stand_in):
    """Neither a crash of the daemon nor one of the relay is seen by who uses an automatic forward."""
    _, inside = stand_in(AUTO)
    inside.serve(3000)
    daemon.wait_forward(host_port=3000, state="active")
    with socket.create_connection(("127.0.0.1", 3000), 5) as open_one:
        daemon.restart()
        daemon.wait_forward(host_port=3000, state="active")
        open_one.sendall(b"still")
        assert open_one.recv(5) == b"still"
    daemon.kill_relay()
    assert answers(3000) == b"hello"


def test_the_agent_restarts(daemon, stand_in):
    _, inside = stand_in(AUTO)
    inside.serve(3000)
    daemon.wait_forward(host_port=3000, state="active")
    inside.kill_agent()
    inside.start_agent()
    assert answers(3000) == b"hello"
    assert daemon.wait_forward(host_port=3000, state="active")["origin"] == "auto"


def test_without_an_agent_it_says_so(daemon, guest):
    guest("web", guests.forwards("<vf:forward guest-port='80' host-port='8080' transport='vsock'/>"),
          start=False).start_paused()
    wait.until(lambda: "virt-forward-guest" in daemon.wait_forward(host_port=8080, state="waiting")["reason"],
               "the agent is what is missing", 10)


def test_many_services(daemon, stand_in):
    _, inside = stand_in(AUTO)
    for port in range(20000, 20030):
        inside.serve(port)
    wait.until(lambda: len(daemon.forwards()) == 30, "thirty forwards", 20)
    assert all(one["state"] == "active" for one in daemon.forwards())


def test_watch_tells(daemon, stand_in):
    _, inside = stand_in(AUTO)
    with Watch() as watch:
        service = inside.serve(3000, "127.0.0.1", "--name", "devserver")
        added = watch.wait("added", id="auto:tcp:localhost=3000")
        assert added["forward"]["process"]["name"] == "devserver"
        service.stop_listening()
        watch.wait("removed", id="auto:tcp:localhost=3000")


def test_explain_agrees(daemon, stand_in):
    domain, inside = stand_in(guests.forwards("<vf:auto><vf:rule guest-port='80' host-port='8088'/></vf:auto>"))
    inside.serve(80)
    daemon.wait_forward(guest_port=80, host_port=8088, state="active")
    path = "/run/lab/metadata.xml"
    with open(path, "w", encoding="utf-8") as file:
        file.write(domain.domain.metadata(2, guests.NAMESPACE))
    explained = json.loads(Cli("explain", "--metadata", path, "--listener", "127.0.0.1:80", "--json").stdout)
    assert explained["rule"] == 1
