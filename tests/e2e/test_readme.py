# SPDX-License-Identifier: LGPL-2.1-or-later
"""The copy-paste lines of the README, and of contrib/doc/ways.md, run as they stand there on a real guest."""
import json
import os
import re
import shlex
import subprocess
import types
import xml.etree.ElementTree as ElementTree

import pytest

import conftest
from lab import agents, readme, wait
from lab import guest as guests
from lab.transfer import Echo
from test_session import user  # noqa: F401  a fixture

# Run as they stand there, by tests below or in these places ...
ELSEWHERE = {
    ("Try it: two commands", "sh", 0): "its first line is e2e.demo, and its second one runs all of this",
    ("Install", "sh", 0): "contrib/check --full makes the packages; tests/package/session installs them, in a VM with systemd",
    ("Install", "sh", 1): "contrib/check builds and installs (e2e.stage); the lines from systemd-sysusers on: tests/package/session",
    ("Metrics", "sh", 0): "test_metrics.py, tests/package/session",
    ("Undo everything", "sh", 1): "tests/package/session",
    ("Undo everything", "sh", 2): "tests/package/session",
}
# ... but for these lines.
NOT_RUN = {
    "contrib/install-packages contrib/packages/build contrib/packages/package":
        "who runs the tests has done it; it would need a network here",
}
HERE = set()


def block(heading, language, number=0):
    """A block that a test of this file runs."""
    HERE.add((heading, language, number))
    return readme.blocks(heading, language)[number]


FIRST = block("virt-forward", "console")
WEB, SSH_IN, EVERYTHING, SESSION, LAN = (block("Five set-ups", "sh", number) for number in range(5))
COMMAND_LINE = block("From the command line", "sh")
VIRSH = block("From virsh", "sh")
XML = block("From virt-manager", "xml")
RULES = block("Ports that open by themselves", "xml")
OPENED = block("Ports that open by themselves", "console")
EXPLAINED = block("Ways into the guest", "console")
SSH_SET_UP, SSH_XML = block("ssh", "sh"), block("ssh", "xml")
DOCTOR = block("When it does not work", "console")
UNDO = block("Undo everything", "sh")
RELAY = block("The relay by itself", "sh")


def run(script, statuses=(0,)):
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, check=False,
                          timeout=120)
    assert done.returncode in statuses, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout


def commands(console):
    """The commands of a console block, each with what is shown below it."""
    found = []
    for line in console.splitlines():
        if line.startswith("$ "):
            found.append((line[2:].partition("  #")[0], []))
        else:
            found[-1][1].append(line)
    return found


def serves(port, host="127.0.0.1"):
    return b"virt-forward lab guest" in subprocess.run(
        ["curl", "-sS", "--max-time", "5", f"http://{host}:{port}/"], capture_output=True, check=False).stdout


@pytest.fixture
def daemon(nothing_left):
    yield from conftest._daemon(*agents.DAEMON_OPTIONS)


def test_every_block_is_run():
    """A new one needs a test, or a line above that says where it is run."""
    there = {(one.heading, one.language, one.number) for one in readme.every_block()}
    assert not HERE & set(ELSEWHERE)
    assert there == HERE | set(ELSEWHERE)
    lines = {line for one in readme.every_block() for line in one.text.splitlines()}
    assert set(NOT_RUN) <= lines


def test_the_first_screen(daemon, guest):
    web = guest("web")
    web.address()
    (add, port), (curl, page), (list_, table) = commands(FIRST)
    assert run(add).splitlines() == port
    wait.until(lambda: serves(8080), "the forward answers")
    assert (run(curl), page) == ("virt-forward lab guest web\n", ["hello from the guest"])
    shown, listed = table[1].split(), run(list_).splitlines()
    assert listed[0].split() == table[0].split()
    # by tcp, and past the relay since the connection that got through
    assert listed[1].replace("tcp+redirect", "tcp").split() == shown


def test_three_set_ups_and_how_to_undo_them(daemon, guest, ssh_key):
    web = guest("web", ssh=ssh_key)
    web.address()
    wait.until(lambda: ":0016 " in web.run("cat /proc/net/tcp /proc/net/tcp6"), "the guest's ssh server listens")
    add, curl = WEB.splitlines()
    assert run(add) == "8080\n"
    wait.until(lambda: serves(8080), "the web server answers")
    assert run(curl) == "virt-forward lab guest web\n"

    add, log_in = SSH_IN.splitlines()
    assert run(add) == "2222\n"
    # The lab's guest has this account and key only.
    options = f"ssh -i {ssh_key.path} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    assert run(log_in.replace("ssh", options, 1).replace("admin@", "root@") + " hostname") == "web\n"

    run("ip addr add 192.168.1.10/32 dev lo")
    try:
        assert LAN.count("systemctl reload virt-forwardd") == 1
        allow, add = LAN.replace("systemctl reload virt-forwardd", f"kill -HUP {daemon.pid}").rsplit("\n", 2)[:2]
        run(allow)
        wait.until(lambda: subprocess.run(["virt-forward", "add", "web", "192.168.1.10::80", "--dry-run"],
                                          check=False, capture_output=True).returncode == 0, "the policy is read")
        assert run(add) == "8080\n"
        wait.until(lambda: serves(8080, "192.168.1.10"), "it answers at the LAN's address")
    finally:
        run("rm -f /etc/virt-forward/virt-forward.conf.d/lan.conf && ip addr delete 192.168.1.10/32 dev lo")

    remove, rest = UNDO.splitlines()
    assert len(json.loads(run("virt-forward list --json"))) == 3
    run(remove)
    assert len(json.loads(run("virt-forward list --json"))) == 2
    run(rest)
    wait.until(lambda: run("virt-forward list --all --json") == "[]\n", "all are gone")
    assert not serves(8080) and "urn:virt-forward" not in run("virsh dumpxml web --inactive")


def test_everything_that_a_guest_opens(daemon, stand_in):
    device, switch = EVERYTHING.splitlines()
    _, inside = stand_in("")
    run(device)
    vsock = ElementTree.fromstring(run("virsh dumpxml web --inactive")).find("./devices/vsock")
    assert (vsock.get("model"), vsock.find("cid").get("auto")) == ("virtio", "yes")
    run(switch)

    (list_, table), (block_, _), (auto, _) = commands(OPENED)
    for line in table[1:]:
        inside.serve(int(line.split()[3]), "127.0.0.1", "--name", line.split()[1])
    wait.until(lambda: run(list_).count("vsock") == 2, "both are forwarded")
    shown = [line.replace(", unproven", "").split() for line in table]
    # the stand-in's domain is paused, and its forwards say so
    listed = [line.replace(", unproven", "").partition("the domain is paused")[0] for line in run(list_).splitlines()]
    assert [line.split() for line in listed] == shown
    run(block_)
    wait.until(lambda: "5432" not in run(list_), "one is blocked")
    assert "blocked" in run(auto)


def test_the_rules(daemon, stand_in):
    _, inside = stand_in(RULES)
    for number in (8001, 9001):
        inside.serve(number)
    inside.serve(5432, "127.0.0.1", "--name", "postgres")
    daemon.wait_forward(host_port=18001, state="active")
    daemon.wait_forward(host_port=15432, label="database")
    assert not [one for one in daemon.forwards() if one["guest"]["port"] == 9001]
    with open("/run/lab/rules.xml", "w", encoding="utf-8") as file:
        file.write(RULES)
    assert "18001" in run("virt-forward explain --metadata /run/lab/rules.xml --listener 0.0.0.0:8001,process=java")


def test_a_machine_of_a_user(user):  # noqa: F811
    user.define("")
    user.virsh("start", "mine", "--paused")
    add, list_ = SESSION.splitlines()
    assert user.run("sh", "-c", add).stdout == "8080\n"
    listed = user.run("sh", "-c", list_).stdout
    assert "http://127.0.0.1:8080" in listed and "usernet" in listed


def test_what_it_says_when_asked(daemon, guest):
    web = guest("web")
    web.address()
    run("virt-forward add web 8080:80")
    wait.until(lambda: serves(8080), "the forward answers")
    [(explain, told)] = commands(EXPLAINED)
    wait.until(lambda: "active by tcp+redirect" in run(explain), "redirected")
    said = run(explain).splitlines()
    assert said[0] == told[0]
    # the first words of each line, and of the table's rows
    ways = [line.split()[:2] for line in told[told.index(next(line for line in told if line.startswith("WAY"))):]]
    assert [line.split()[:2] for line in said if line.split()[0] in {way[0] for way in ways}] == ways
    [(doctor, _)] = commands(DOCTOR)
    assert "live-only" in run(doctor.removeprefix("sudo "))


def test_the_lines_below_use_it(daemon, guest):
    web = guest("web")
    web.address()

    lines = COMMAND_LINE.splitlines()
    assert run(lines[0]) == "8080\n"
    wait.until(lambda: serves(8080), "the first line's forward answers")
    port = int(run(lines[1]))
    assert serves(port)
    out = run("\n".join(lines[2:]))
    assert f"127.0.0.1:{port}" in out and "2222" in out
    run("virt-forward remove web ssh --persistent; virt-forward remove web tcp:8080:80")

    set_line, _, rest = VIRSH.partition("</forwards>'\n")
    run(set_line + "</forwards>'")
    wait.until(lambda: serves(8080), "the forward set by virsh answers")
    show, remove = rest.strip().splitlines()
    assert 'label="secure shell"' in run(show)
    run(remove)
    wait.until(lambda: not serves(8080), "removed by virsh")


def test_the_line_for_scripts(daemon, guest):
    """It waits for a guest that has not booted; without the option it does not, and both is said there."""
    [line] = re.findall(r"`(port=[^`]*)` is all that a script needs", readme.whole_text())
    assert line.endswith(" --wait)")
    guest("web", start=False).start_paused()
    assert int(run(line.replace(" --wait", "") + "; echo $port"))
    [forward] = daemon.forwards()
    assert forward["state"] == "waiting" and not serves(forward["host"]["port"])
    run("virt-forward remove web 80")
    with subprocess.Popen(["bash", "-euc", line + "; echo $port"], stdout=subprocess.PIPE, text=True) as script:
        port = daemon.wait_forward(state="waiting")["host"]["port"]
        run("virsh resume web")
        assert int(script.communicate(timeout=120)[0]) == port
    assert (script.returncode, daemon.forwards()[0]["state"]) == (0, "active")
    wait.until(lambda: serves(port), "its web server, which no agent tells of, answers")


def test_the_xml_for_virt_manager(daemon, guest):
    metadata = ElementTree.fromstring(XML)
    element = ElementTree.tostring(metadata[0], encoding="unicode")
    web = guest("web", metadata=element)
    web.address()
    wait.until(lambda: serves(8080), "the forward of the XML tab answers")
    assert guests.NAMESPACE in element


def test_the_relay_by_itself():
    for line in RELAY.splitlines():
        words = shlex.split(line)
        pairs = sum(":" in word for word in words[1:]) // 2
        relay = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        try:
            served = [relay.stdout.readline() for _ in range(pairs)]
            assert all(" -> " in one for one in served), served
        finally:
            relay.terminate()
        assert relay.wait(10) == 0
        relay.stdout.close()


def test_the_lines_for_ssh(daemon, guest):
    """As they stand there, but for the service manager and the account, which the lab's guest has not."""
    script = SSH_SET_UP
    assert script.count("systemctl reload virt-forwardd") == 1
    run(script.replace("systemctl reload virt-forwardd", f"kill -HUP {daemon.pid}"))
    try:
        with open("/etc/virt-forward/keys/lab.pub", "rb") as file:
            key = types.SimpleNamespace(public=file.read())
        element = SSH_XML.replace('user="admin"', 'user="root"')
        web = guest("web", guests.forwards(element), ssh=key)
        web.run("listen 5432 cat")
        assert daemon.wait_forward(guest_port=5432, state="active")
        wait.until(lambda: "ready" in run("virt-forward explain web 5432 | grep ^ssh || true"), "ssh is a way", 60)
        with Echo(5432) as echo:
            echo.say()
    finally:
        run("rm -r /etc/virt-forward/keys /etc/virt-forward/virt-forward.conf.d/keys.conf")
