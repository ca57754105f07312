# SPDX-License-Identifier: LGPL-2.1-or-later
"""virt-forward-notify on a real desktop: what is shown, and what each action does. The guest is a network
namespace with the real agent (lab/agents.py)."""
import concurrent.futures
import json
import socket

import pytest

import conftest
from lab import agents, desktop, wait
from lab import guest as guests
from lab.programs import Cli
from test_automatic import answers, refuses

AUTO = guests.forwards("<vf:auto/>")
ASK = guests.forwards("<vf:auto><vf:rule action='ask'/></vf:auto>")


@pytest.fixture
def daemon(nothing_left):
    yield from conftest._daemon(*agents.DAEMON_OPTIONS)


@pytest.fixture
def screen(stand_in):
    """A desktop without virt-forward-notify yet; gone before the guests are."""
    with desktop.Desktop() as shown:
        yield shown


def serve(inside, *ports, name="devserver"):
    """Services that come at about the same time."""
    with concurrent.futures.ThreadPoolExecutor(len(ports)) as pool:
        return list(pool.map(lambda port: inside.serve(port, "127.0.0.1", "--name", name), ports))


def state_of(port, domain="web"):
    ports = json.loads(Cli("auto", domain, "--json").stdout)["ports"]
    return next((one["state"] for one in ports if one["port"] == port), None)


def test_a_forward_and_its_actions(daemon, stand_in, screen):
    domain, inside = stand_in(AUTO)
    serve(inside, 2999)
    daemon.wait_forward(host_port=2999, state="active")
    screen.start_notifier().wait_watching()
    serve(inside, 3000)
    shown = screen.wait_notice("web: devserver, port 3000")
    assert shown["body"] == "http://127.0.0.1:3000"
    assert answers(3000) == b"hello"
    assert len(screen.notices()) == 1  # nothing of 2999, which was there before
    assert screen.actions() == {f"{label} (web: devserver, port 3000)" for label in ("Open", "Copy URL", "Block", "")}

    screen.click("Copy URL (web: devserver, port 3000)")
    wait.until(lambda: screen.clipboard() == "http://127.0.0.1:3000", "the URL is in the clipboard", 10)

    serve(inside, 3001)
    screen.wait_notice("web: devserver, port 3001")
    screen.click("Open (web: devserver, port 3001)")
    wait.until(lambda: screen.opened() == ["http://127.0.0.1:3001"], "the browser opens the URL", 10)

    serve(inside, 3002)
    screen.wait_notice("web: devserver, port 3002")
    with socket.create_connection(("127.0.0.1", 3002), 5) as open_one:
        open_one.sendall(b"ping")
        assert open_one.recv(4) == b"ping"
        screen.click("Block (web: devserver, port 3002)")
        wait.until(lambda: state_of(3002) == "blocked", "port 3002 is blocked", 10)
        open_one.settimeout(5)
        with pytest.raises(ConnectionResetError):
            while open_one.recv(1):
                pass
    assert refuses(3002)
    assert 'guest-port="3002"' in domain.domain.metadata(2, guests.NAMESPACE).replace("'", '"')
    assert answers(3000) == b"hello"


def test_a_batch_is_one_and_goes_with_its_ports(daemon, stand_in, screen):
    _, inside = stand_in(AUTO)
    screen.start_notifier().wait_watching()
    services = serve(inside, 3000, 3001, 8000)
    shown = screen.wait_notice("3 ports of web")
    assert sorted(shown["body"].split("\n")) == [f"devserver: http://127.0.0.1:{port}" for port in (3000, 3001, 8000)]
    assert len(screen.notices()) == 1
    assert screen.displayed() == 1
    for service in services:
        service.stop_listening()
    wait.until(lambda: screen.displayed() == 0, "the notification is withdrawn", 10)


def test_rules_silence_and_open(daemon, stand_in, screen):
    rules = ("<vf:auto><vf:rule guest-port='3000' notify='no'/>"
             "<vf:rule guest-port='3001' notify='no' open='yes'/></vf:auto>")
    _, inside = stand_in(guests.forwards(rules))
    screen.start_notifier().wait_watching()
    serve(inside, 3000)
    daemon.wait_forward(host_port=3000, state="active")
    serve(inside, 3001)
    wait.until(lambda: screen.opened() == ["http://127.0.0.1:3001"], "the browser opens the URL", 10)
    serve(inside, 3002)
    screen.wait_notice("web: devserver, port 3002")
    assert len(screen.notices()) == 1
    assert screen.opened() == ["http://127.0.0.1:3001"]


def test_nothing_is_forwarded_before_the_answer(daemon, stand_in, screen):
    domain, inside = stand_in(ASK)
    screen.start_notifier().wait_watching()
    service, = serve(inside, 3000)
    screen.wait_notice("web: forward port 3000 of devserver?")
    assert state_of(3000) == "asking"
    assert refuses(3000)
    assert not daemon.forwards()
    question = "web: forward port 3000 of devserver?"
    assert screen.actions() == {f"{label} ({question})" for label in ("Allow", "Always allow for this process", "Block")}
    screen.click(f"Allow ({question})")
    daemon.wait_forward(host_port=3000, state="active", origin="auto")
    assert answers(3000) == b"hello"
    assert 'guest-port="3000"' in live(domain)
    assert "3000" not in config(domain)  # this run alone
    # It is told of, now that it is forwarded; another port is asked about.
    screen.wait_notice("web: devserver, port 3000")
    serve(inside, 3001)
    screen.wait_notice("web: forward port 3001 of devserver?")
    assert refuses(3001)
    assert service.pid


def test_always_is_of_the_process(daemon, stand_in, screen):
    domain, inside = stand_in(ASK)
    screen.start_notifier().wait_watching()
    serve(inside, 3000)
    question = "web: forward port 3000 of devserver?"
    screen.wait_notice(question)
    screen.click(f"Always allow for this process ({question})")
    daemon.wait_forward(host_port=3000, state="active")
    for metadata in (live(domain), config(domain)):
        assert 'process="devserver"' in metadata and 'marked="yes"' in metadata
    serve(inside, 3001)
    daemon.wait_forward(host_port=3001, state="active")
    serve(inside, 3002, name="other")
    screen.wait_notice("web: forward port 3002 of other?")
    assert refuses(3002)


def test_a_question_goes_with_its_port(daemon, stand_in, screen):
    _, inside = stand_in(ASK)
    screen.start_notifier().wait_watching()
    service, = serve(inside, 3000)
    screen.wait_notice("web: forward port 3000 of devserver?")
    assert screen.displayed() == 1
    service.stop_listening()
    wait.until(lambda: screen.displayed() == 0, "the question is withdrawn", 10)
    # Answered on the command line, it goes as well.
    serve(inside, 3001)
    screen.wait_notice("web: forward port 3001 of devserver?")
    Cli("allow", "web", "3001")
    screen.wait_notice("web: devserver, port 3001")
    assert answers(3001) == b"hello"
    wait.until(lambda: screen.displayed() == 1, "the question is withdrawn", 10)


def test_a_question_is_answered_with_no(daemon, stand_in, screen):
    """Of all the ports that it is about."""
    domain, inside = stand_in(ASK)
    screen.start_notifier().wait_watching()
    serve(inside, 3000, 3001)
    question = "web: forward 2 ports?"
    screen.wait_notice(question)
    screen.click(f"Block ({question})")
    for port in (3000, 3001):
        wait.until(lambda: state_of(port) == "blocked", f"port {port} is blocked", 10)
        assert f'guest-port="{port}"' in live(domain)
    assert refuses(3000) and refuses(3001)
    assert len(screen.notices()) == 1  # and nothing failed


def test_everything_of_a_domain_goes_with_it(daemon, stand_in, screen):
    domain, inside = stand_in(guests.forwards("<vf:auto><vf:rule action='ask' process='other'/></vf:auto>"))
    screen.start_notifier().wait_watching()
    serve(inside, 3000)
    screen.wait_notice("web: devserver, port 3000")
    serve(inside, 3001, name="other")
    screen.wait_notice("web: forward port 3001 of other?")
    assert screen.displayed() == 2
    domain.domain.destroy()
    wait.until(lambda: screen.displayed() == 0, "both are withdrawn", 10)


def test_what_a_guest_says_is_text(daemon, stand_in, screen):
    _, inside = stand_in(ASK)
    screen.start_notifier().wait_watching()
    serve(inside, 3000, name="<b>*</b>&amp;")
    screen.wait_notice("web: forward port 3000 of \u2039b\u203a*\u2039/b\u203a\uff06amp;?")
    # A process that is called "*" is not every process.
    Cli("allow", "web", "3000", "--process")
    daemon.wait_forward(host_port=3000, state="active")
    serve(inside, 3001, name="<b>x</b>&amp;")
    wait.until(lambda: state_of(3001) == "asking", "port 3001 is asked about", 10)


def test_daemon_and_server_come_and_go(daemon, stand_in):
    _, inside = stand_in(AUTO)
    daemon.kill()
    with desktop.Desktop(server=False) as screen:
        screen.start_notifier()  # neither of them is there
        daemon.start()
        screen.wait_watching()
        serve(inside, 3000)
        daemon.wait_forward(host_port=3000, state="active")
        screen.start_server()
        serve(inside, 3001)
        wait.until(lambda: any("port 3001" in notice["summary"] or "2 ports" in notice["summary"]
                               for notice in screen.notices()), "a notice", 20)
        before = len(screen.notices())
        daemon.restart()
        screen.wait_watching()
        serve(inside, 3002)
        screen.wait_notice("web: devserver, port 3002")
        assert len(screen.notices()) == before + 1  # what was there before is not told again
        assert screen.displayed() == before + 1


def test_an_action_that_fails_says_why(daemon, stand_in, screen):
    _, inside = stand_in(AUTO)
    screen.start_notifier().wait_watching()
    serve(inside, 3000)
    screen.wait_notice("web: devserver, port 3000")
    daemon.kill()
    screen.click("Block (web: devserver, port 3000)")
    assert "does not run" in screen.wait_notice("Cannot block port 3000 of web")["body"]
    daemon.start()
    daemon.wait_forward(host_port=3000, state="active")


def test_the_end_takes_notifications_along(daemon, stand_in, screen):
    _, inside = stand_in(AUTO)
    screen.start_notifier().wait_watching()
    serve(inside, 3000)
    screen.wait_notice("web: devserver, port 3000")
    assert screen.displayed() == 1
    assert screen.run(desktop.NOTIFIER) == ""  # a second one leaves it to the first
    assert screen.stop_notifier() == 0
    wait.until(lambda: screen.displayed() == 0, "the notification is withdrawn", 10)


def test_an_action_starts_it(daemon, stand_in, screen):
    """What a desktop does with an action of a notification whose program has ended: DBusActivatable."""
    domain, inside = stand_in(ASK)
    serve(inside, 3000)
    wait.until(lambda: state_of(3000) == "asking", "port 3000 is asked about", 15)
    path = f"/org/virtforward1/domain/{domain.uuid.replace('-', '_')}"
    screen.activate("allow", f"<('the%20system%20daemon', '{path}', 'web', 'tcp:3000', '')>")
    daemon.wait_forward(host_port=3000, state="active")
    screen.activate("open", "<'http://127.0.0.1:3000'>")
    wait.until(lambda: screen.opened() == ["http://127.0.0.1:3000"], "the browser opens the URL", 10)
    # What is none of ours does nothing.
    for action, parameter in (("block", "<('', '', '', '', '')>"), ("allow", "<('x', '/', 'web', 'tcp:0,,:,x', '')>"),
                              ("allow", "<'tcp:3000'>"), ("block", "<('%zz', '/', '%', 'tcp:1', '%00')>")):
        screen.activate(action, parameter, check=False)
    assert answers(3000) == b"hello"
    screen.end_activated()


def live(domain):
    return domain.domain.metadata(2, guests.NAMESPACE, 1).replace("'", '"')


def config(domain):
    return domain.domain.metadata(2, guests.NAMESPACE, 2).replace("'", '"')
