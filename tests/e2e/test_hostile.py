# SPDX-License-Identifier: LGPL-2.1-or-later
"""Text that others chose: names, labels and metadata that want to be commands, options or terminal codes."""
import os
import pty
import re
import subprocess
import unicodedata

import libvirt
import pytest

from lab import guest as guests
from lab import wait
from lab.programs import CLI, Cli

NAMES = [
    "a b", " leading", "it's", 'say "x"', "$(touch /run/lab/pwned)", "`touch /run/lab/pwned`",
    "; touch /run/lab/pwned #", "-x", "--help", "--", "4242", "0", "2147483648", "*", "%s%n", "a\\nb",
    "6d7a2f3e-0000-4000-8000-0123456789ab", "büro 日本 😀", "é" * 127 + "x", "\u009b31mred", "\u202egnp",
    "a\u200bb", "tab\there", "&lt;b>&amp;",
]
WEB = guests.forwards("<vf:forward name='web' guest-port='80' host-port='8080'/>")
BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
COLOUR = re.compile(rb"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def daemon(shared_daemon):
    return shared_daemon


def on_terminal(*arguments, **environment):
    """What a terminal gets from `virt-forward ...`, as bytes."""
    master, slave = pty.openpty()
    process = subprocess.Popen([CLI, *arguments], stdin=slave, stdout=slave, stderr=slave,
                               env=dict(os.environ, TERM="xterm", **environment))
    os.close(slave)
    output = b""
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not data:
            break
        output += data
    os.close(master)
    process.wait(30)
    return output


def assert_harmless(output):
    """Nothing in it can move the cursor, change the title or reverse the text."""
    for character in output.replace(b"\r\n", b"\n").decode():
        bad = character != "\n" and (unicodedata.category(character) in ("Cc", "Zl", "Zp") or character in BIDI)
        assert not bad, f"{character!r} in {output!r}"


@pytest.mark.parametrize("name", NAMES)
def test_domain_name(daemon, guest, name):
    try:
        hostile = guest(name, WEB, start=False)
    except libvirt.libvirtError as error:
        assert "name" in str(error), error  # libvirt itself does not take it
        return
    try:
        hostile.start_paused()
    except libvirt.libvirtError as error:
        assert "hook" not in str(error).lower(), error  # QEMU does not take it
        return
    forward = daemon.wait_forward(uuid=hostile.uuid, host_port=8080)
    assert forward["domain"] == name, "JSON says it as it is"

    for options in ((), ("--color", "always"), ("--json",), ("--all",)):
        assert_harmless(COLOUR.sub(b"", on_terminal("list", *options)))
    assert_harmless(on_terminal("list", NO_COLOR="1"))
    plain = Cli("list")
    assert_harmless(plain.stdout.encode())
    for verb in (("explain", "--", name, "8080"), ("doctor", "--", name), ("auto", "--", name), ("export", "--", name),
                 ("add", "--dry-run", "--", name, "8082:82")):
        assert_harmless(on_terminal(*verb, NO_COLOR="1"))

    # every verb takes it as a name, where it is not also the id of something else
    assert Cli("url", "--", name).stdout == "http://127.0.0.1:8080\n"
    assert Cli("add", "--", name, "8081:81").stdout == "8081\n"
    assert [f["host"]["port"] for f in daemon.forwards(hostile.uuid)] == [8080, 8081]
    assert Cli("list", "--", name).stdout.count("8081") == 1
    assert_harmless(on_terminal("remove", "--", name, "nothing-there"))
    Cli("remove", "--", name, "8081")
    # after its end an error says the name
    hostile.domain.destroy()
    wait.until(lambda: not daemon.forwards(), "it has stopped")
    done = Cli("add", "--", name, "8081:81", check=False)
    assert done.status == 4
    assert_harmless(done.stderr.encode())
    assert not os.path.exists("/run/lab/pwned")


@pytest.mark.parametrize("word", ["$(touch /run/lab/pwned)", "\x1b[31m", "\u009b2J", "x" * 100_000, "", "\udcff\udcfe", "-1",
                                  "a\nb"])
def test_word_that_names_nothing(daemon, guest, word):
    guest("web", WEB, start=False).start_paused()
    daemon.wait_forward(host_port=8080)
    for arguments in (("url", "--", word), ("list", "--", word), ("remove", "--", "web", word),
                      ("add", "--", "web", word), ("add", "--label", word, "--", word, "80")):
        done = Cli(*arguments, check=False)
        assert done.status in (2, 3), (arguments, done.status, done.stderr)
        assert_harmless(done.stderr.encode())
        assert len(done.stderr) < 2000, "long words are cut"


BAD = {
    "port out of range": "<vf:forward guest-port='99999'/>",
    "no guest side": "<vf:forward host-port='8090'/>",
    "unknown attribute": "<vf:forward guest-port='80' command='rm'/>",
    "unknown value": "<vf:forward guest-port='80' on-busy='steal'/>",
    "unknown element": "<vf:backward guest-port='80'/>",
    "terminal code": "<vf:forward guest-port='80' name='&#x9b;31m'/>",
    "path": "<vf:forward guest-port='80' host-socket='../../etc/passwd'/>",
    "same identity": "<vf:forward name='good' guest-port='81'/>",
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_bad_forward_beside_a_good_one(daemon, guest, bad):
    web = guest("web", guests.forwards("<vf:forward name='good' guest-port='80' host-port='8080'/>\n" + bad), start=False)
    web.start_paused()
    daemon.wait_forward(name="good", host_port=8080)
    assert len(daemon.forwards()) == 1
    done = Cli("list")
    assert '"web"' in done.stderr and "line " in done.stderr, done.stderr
    assert "8080" in done.stdout
    assert_harmless(done.stderr.encode())
    assert_harmless(on_terminal("list", NO_COLOR="1"))
    # an edit works all the same, and leaves what is wrong to whoever wrote it
    Cli("add", "web", "8081:81", "--name", "more")
    assert {f["name"] for f in daemon.forwards()} == {"good", "more"}
    assert '"web"' in Cli("list").stderr


def test_many_errors_and_huge_metadata(daemon, guest):
    body = "".join(f"<vf:forward guest-port='{70000 + number}'/>" for number in range(2000))
    guest("web", guests.forwards("<vf:forward name='good' guest-port='80' host-port='8080'/>" + body), start=False).start_paused()
    daemon.wait_forward(name="good", host_port=8080)
    assert len(Cli("list").stderr) < 1_000_000
    assert len(daemon.log()) < 1_000_000


def test_label_is_shown_harmless(daemon, guest):
    label = "\u202eevil\u009b2J‮" + "x" * 500
    guest("web", guests.forwards(f"<vf:forward name='web' label='{label}' guest-port='80' host-port='8080'/>"),
          start=False).start_paused()
    wait.until(lambda: Cli("list", "web", check=False).status == 0, "the daemon knows it")
    for options in ((), ("--json",), ("--all",)):
        assert_harmless(on_terminal("list", *options, NO_COLOR="1"))
    assert not re.search(r"[\u202e\u009b]", daemon.log())
