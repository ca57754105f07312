# SPDX-License-Identifier: LGPL-2.1-or-later
"""The README's copy-paste lines, run as they stand there on a real guest."""
import os
import re
import shlex
import subprocess
import types
import xml.etree.ElementTree as ElementTree

from lab import guest as guests, wait
from lab.transfer import Echo

README = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../README.md")


def blocks(heading, language):
    """The fenced blocks of one language below a heading."""
    with open(README, encoding="utf-8") as file:
        text = file.read()
    section = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.S | re.M).group(2)
    found = re.findall(rf"^```{language}\n(.*?)^```", section, re.S | re.M)
    assert found, f"no {language} block below {heading!r}"
    return found


def run(script):
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, check=False,
                          timeout=60)
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout


def serves(port):
    return b"virt-forward lab guest" in subprocess.run(
        ["curl", "-sS", "--max-time", "5", f"http://127.0.0.1:{port}/"], capture_output=True, check=False).stdout


def test_the_lines_below_use_it(daemon, guest):
    web = guest("web")
    web.address()

    lines = [line for line in blocks("From the command line", "sh")[0].splitlines() if line]
    assert run(lines[0]) == "8080\n"
    wait.until(lambda: serves(8080), "the first line's forward answers")
    port = int(run(lines[1]))
    assert serves(port)
    out = run("\n".join(lines[2:]))
    assert f"127.0.0.1:{port}" in out and "2222" in out
    run("virt-forward remove web ssh --persistent; virt-forward remove web tcp:8080:80")

    set_line, _, rest = blocks("From virsh", "sh")[0].partition("</forwards>'\n")
    run(set_line + "</forwards>'")
    wait.until(lambda: serves(8080), "the forward set by virsh answers")
    show, remove = rest.strip().splitlines()
    assert 'label="secure shell"' in run(show)
    run(remove)
    wait.until(lambda: not serves(8080), "removed by virsh")


def test_the_xml_for_virt_manager(daemon, guest):
    metadata = ElementTree.fromstring(blocks("From virt-manager", "xml")[0])
    element = ElementTree.tostring(metadata[0], encoding="unicode")
    web = guest("web", metadata=element)
    web.address()
    wait.until(lambda: serves(8080), "the forward of the XML tab answers")
    assert guests.NAMESPACE in element


def test_the_relay_by_itself():
    for line in blocks("The relay by itself", "sh")[0].splitlines():
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
    script = blocks("Ways into the guest", "sh")[0]
    assert script.count("systemctl reload virt-forwardd") == 1
    run(script.replace("systemctl reload virt-forwardd", f"kill -HUP {daemon.pid}"))
    try:
        with open("/etc/virt-forward/keys/lab.pub", "rb") as file:
            key = types.SimpleNamespace(public=file.read())
        element = blocks("Ways into the guest", "xml")[0].replace('user="admin"', 'user="root"')
        web = guest("web", guests.forwards(element), ssh=key)
        web.run("listen 5432 cat")
        assert daemon.wait_forward(guest_port=5432, state="active")
        wait.until(lambda: "ready" in run("virt-forward explain web 5432 | grep ^ssh || true"), "ssh is a way", 60)
        with Echo(5432) as echo:
            echo.say()
    finally:
        run("rm -r /etc/virt-forward/keys /etc/virt-forward/virt-forward.conf.d/keys.conf")
