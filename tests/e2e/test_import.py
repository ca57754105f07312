# SPDX-License-Identifier: LGPL-2.1-or-later
"""import, export and add --wait against the real daemon and libvirt."""
import contextlib
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import threading

import pytest

from lab import guest as guests
from lab import wait
from lab.programs import CLI, Cli, Watch
from lab.transfer import refused

LIST = """\
# what a Vagrantfile or a docker command line says
8080:80
2222:22 name=ssh 'label=secure shell'
5353:53/udp
18000-18001:8000-8001 name=games on-busy=fail
"""
# What moves a cursor, or turns a line around.
CONTROL = re.compile("[\0-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
GHOSTVM = {"version": 1, "cpus": 4, "portForwards": [
    {"id": "6F2C1B8E-0000-4000-8000-000000000001", "hostPort": 8080, "guestPort": 80, "enabled": True},
    {"id": "6F2C1B8E-0000-4000-8000-000000000002", "hostPort": 2222, "guestPort": 22, "enabled": False}]}


@pytest.fixture(scope="module")
def daemon(shared_daemon):
    return shared_daemon


@pytest.fixture
def paused(daemon, guest):
    def make(name="web"):
        made = guest(name, start=False)
        made.start_paused()
        return made
    return make


def feed(text, *arguments):
    """(status, stdout, stderr) of `import ARGUMENTS` with the text on its standard input."""
    done = subprocess.run([CLI, "import", *arguments], input=text, capture_output=True, text=True, timeout=60,
                          check=False)
    return done.returncode, done.stdout, done.stderr


def test_round_trip_through_every_format(daemon, paused):
    paused("web")
    status, out, error = feed(LIST, "web", "-")
    assert status == 0 and "gone at the next start" in error
    assert all(word in out for word in ("8080", "ssh", "5353", "games#8000", "games#8001"))
    listed = Cli("export", "web").stdout
    assert listed == "".join(line + "\n" for line in LIST.splitlines()[1:])

    paused("copy")
    for form in ("list", "json", "xml"):
        exported = Cli("export", "web", "--format", form).stdout
        Cli("remove", "web", "--all")
        status, _, error = feed(exported, "copy", "-")
        assert status == 0, error
        assert Cli("export", "copy").stdout == listed
        Cli("remove", "copy", "--all")
        assert feed(exported, "web", "-")[0] == 0
    assert len(daemon.forwards("web")) == 5


def test_what_virsh_takes_is_what_export_writes(paused):
    web = paused()
    Cli("add", "web", "8080:80", "--name", "site")
    xml = Cli("export", "web", "--format", "xml").stdout
    Cli("remove", "web", "--all")
    subprocess.run(["virsh", "-q", "metadata", web.uuid, guests.NAMESPACE, "--key", "vf", "--live", "--set", xml], check=True)
    wait.until(lambda: Cli("export", "web").stdout == "8080:80 name=site\n", "the daemon has read it")


def test_all_or_nothing(daemon, paused):
    paused()
    Cli("add", "web", "9000:90", "--name", "mine")
    before = Cli("export", "web").stdout
    for text, named in (("8080:80\n0:22\n", "line 2"), ("8080:80\n1:1 name=mine\n", "line 2"),
                        ("8080:80\n8081:80 name=x\n8082:80 name=x\n", "line 3")):
        status, out, error = feed(text, "web", "-")
        assert (status, out) == (2, "") and named in error and "nothing was added" in error
        assert Cli("export", "web").stdout == before

    # What only the daemon finds out: the third one's port is another program's.
    with socket.create_server(("127.0.0.1", 8282)), Watch("web") as watch:
        status, out, error = feed("8080:80\n8081:81\n8282:82 on-busy=fail\n8083:83\n", "web", "-")
        assert (status, out) == (5, "") and "line 3" in error and "nothing was added" in error
        assert Cli("export", "web").stdout == before and refused(8080) and refused(8081)
        status, out, error = feed("8080:80\n8282:82 on-busy=fail\n", "web", "-", "--dry-run")
        assert (status, out) == (5, "") and "line 2" in error and "nothing was added" in error
        Cli("add", "web", "8285:80", "--name", "last")
        watch.wait("added", name="last")
        assert [event["forward"]["name"] for event in watch.events] == ["mine", "last"], watch.events
        Cli("remove", "web", "last")

    status, out, _ = feed("8080:80\n", "web", "-", "--dry-run")
    assert (status, out) == (0, "8080:80\n")
    assert Cli("export", "web").stdout == before and refused(8080)


def test_more_than_there_may_be(daemon, paused):
    paused()
    for count, expected, named in ((1025, 6, "line 1025: more than 1024 forwards in one domain"), (10000, 2, "at most 4096")):
        text = "".join(f"{port}:{port}\n" for port in range(20000, 20000 + count))
        with Watch("web") as watch:
            status, out, error = feed(text, "web", "-", "--persistent")
            assert (status, out) == (expected, "") and named in error and "nothing was added" in error
            Cli("add", "web", "8285:80", "--name", "last")
            watch.wait("added", name="last")
            assert [event["event"] for event in watch.events] == ["added"], watch.events
            Cli("remove", "web", "last")


class Doorkeeper:
    """Stands at the daemon's private socket and ends the command line when it calls a method: before the call is handed
    on, or as soon as it has been."""
    PATH = "/run/virt-forward/bus.sock"

    def __init__(self, method, hand_on):
        self._method, self._hand_on = method, hand_on
        self.ended = threading.Event()
        self.pid = None

    def __enter__(self):
        os.rename(self.PATH, self.PATH + ".behind")
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(self.PATH)
        self._door.listen()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        os.rename(self.PATH + ".behind", self.PATH)

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._door.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client):
        with contextlib.suppress(OSError), client, socket.socket(socket.AF_UNIX) as daemon:
            daemon.connect(self.PATH + ".behind")
            while True:
                for ready in select.select([client, daemon], [], [])[0]:
                    data = ready.recv(1 << 16)
                    if not data:
                        return
                    if ready is client and self._method in data:
                        # a D-Bus message says how long it is: its body, and behind it the fields of its header
                        body, fields = struct.unpack_from("<4xI4xI", data)
                        while len(data) < 16 + (fields + 7) // 8 * 8 + body:
                            data += client.recv(1 << 16)
                        if self._hand_on:
                            daemon.sendall(data)
                        os.kill(self.pid, signal.SIGKILL)
                        self.ended.set()
                        return
                    (daemon if ready is client else client).sendall(data)


@pytest.mark.parametrize("hand_on", [False, True], ids=["before", "behind"])
def test_an_import_that_is_killed_adds_all_or_none(daemon, paused, hand_on):
    paused()
    text = "".join(f"{port}:{port}\n" for port in range(20000, 20600))
    with Doorkeeper(b"AddForwards", hand_on) as door:
        process = subprocess.Popen([CLI, "import", "web", "-", "--persistent"], stdin=subprocess.PIPE, text=True,
                                   stdout=subprocess.DEVNULL)
        door.pid = process.pid
        process.communicate(text, timeout=60)
        assert process.returncode == -signal.SIGKILL and door.ended.is_set()
    # Edits of a domain are made one after the other.
    Cli("add", "web", "8285:80", "--name", "last", "--persistent")
    last = "8285:80 name=last\n"
    sides = [Cli("export", "web", side).stdout for side in ("--live", "--config")]
    assert sides == [last] * 2 or (hand_on and sides == [text + last] * 2)
    assert len(daemon.forwards("web")) == sides[0].count("\n")


def test_ghostvm(tmp_path, daemon, paused):
    paused()
    path = tmp_path / "config.json"
    path.write_text(json.dumps(GHOSTVM))
    Cli("import", "web", str(path))
    states = {forward["host"].get("port", 0) or forward["host"]["requested-port"]: forward["state"]
              for forward in daemon.forwards("web")}
    assert states == {8080: "waiting", 2222: "disabled"}
    assert Cli("export", "web").stdout == "8080:80\n2222:22 enabled=no\n"


def test_a_stopped_domain(guest):
    guest("web", start=False)
    wait.until(lambda: Cli("list", "web", check=False).status == 0, "the daemon knows it")
    assert feed("8080:80\n", "web", "-")[0] == 4
    assert feed("8080:80\n", "web", "-", "--config")[0] == 0
    assert Cli("export", "web").stdout == "8080:80\n"
    assert Cli("export", "web", "--live", check=False).status == 4


def test_wait_gives_up_and_the_forward_stays(daemon, paused):
    paused()
    added = Cli("add", "web", "8080:80", "--wait", "--timeout", "1", check=False)
    assert (added.status, added.stdout) == (1, "8080\n")
    assert "not reachable after 1 s" in added.stderr and "no address" in added.stderr
    assert daemon.wait_forward(domain="web", host_port=8080)["state"] == "waiting"
    added = Cli("add", "web", "81", "--wait", "--timeout", "1", "--json", check=False)
    assert added.status == 1 and json.loads(added.stdout)[0]["state"] == "waiting"
    for wrong in (("--timeout", "1"), ("--wait", "--timeout", "x"), ("--wait", "--timeout", "86401")):
        assert Cli("add", "web", "82", *wrong, check=False).status == 2
    assert len(daemon.forwards("web")) == 2


def test_wait_ends_with_the_forward(daemon, paused):
    web = paused()
    waiting = subprocess.Popen([CLI, "add", "web", "8080:80", "--wait", "--timeout", "0"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    assert waiting.stdout.readline() == "8080\n"
    wait.until(lambda: daemon.forwards("web"), "it is there")
    web.domain.destroy()
    _, error = waiting.communicate(timeout=30)
    assert waiting.returncode in (1, 4) and ("removed" in error or "inactive" in error), error


def test_an_add_that_fails_is_never_seen(paused):
    web = paused()
    with socket.create_server(("127.0.0.1", 8282)), Watch("web") as watch:
        assert Cli("add", "web", "8282:80", "--on-busy", "fail", check=False).status == 5
        assert Cli("add", "web", "8283:80", "--host-address", "0.0.0.0", check=False).status == 6
        web.domain.setMetadata(2, "<other/>", "vf", guests.NAMESPACE, 1)
        wait.until(lambda: "not our element" in Cli("list", "web").stderr, "the daemon has seen it")
        broken = Cli("add", "web", "8284:80", check=False)
        assert broken.status == 2 and "cannot be edited" in broken.stderr
        web.domain.setMetadata(2, None, "vf", guests.NAMESPACE, 1)
        wait.until(lambda: Cli("add", "web", "8285:80", "--name", "last", check=False).status == 0, "it is mended")
        watch.wait("added", name="last")
        assert [event["event"] for event in watch.events] == ["added"], watch.events


# --- files that nobody meant well

HOSTILE = {
    "zeros": (b"\0" * 64, "it is no text"),
    "not-utf-8": (b"\xff\xfe8080:80\n", "not UTF-8"),
    "two-mebibytes": (b"8080:80\n" * 262144, "longer than 1048576 bytes"),
    "one-forward-often": (b"8080:80\n" * 20000, "is in line 1 already"),
    "deep": (b'[{"guest-port":' + b"[" * 500000, "levels"),
    "escapes": (b"80:80 label='\x1b]0;title\x07 \xe2\x80\xae' what\n" * 100, "and 50 more"),
    "open-quote": (b"80:80 'label=\x1b[31m\n", "line 1"),
    "negative": (b"-1:80\n", "line 1"),
    "beyond": (b"99999999999999999999:80\n65536:80\n80:0\n80-79:1-2\n1-65535:1-65534\n", "line 5"),
    "json-beyond": (b'{"portForwards":[{"hostPort":4294967376,"guestPort":80},{"hostPort":-1,"guestPort":80},'
                    b'{"hostPort":1e300,"guestPort":80}]}', "portForwards[2]"),
    "json-64-bits": (b'{"portForwards":[{"hostPort":-18446744073709551536,"guestPort":80}]}', "line 1: -18446744073709551536 is beyond"),
    "entities": (b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><forwards>&b;</forwards>', ""),
    "external": (b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><forwards><forward name="&a;"/></forwards>', ""),
}


@pytest.mark.parametrize("content, words", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_files(tmp_path, paused, content, words):
    paused()
    path = tmp_path / "file"
    path.write_bytes(content)
    said = Cli("import", "web", str(path), check=False)
    assert (said.status, said.stdout) == (2, "") and words in said.stderr and "nothing was added" in said.stderr
    assert len(said.stderr) < 30000 and not CONTROL.search(said.stderr)
    assert "root:" not in said.stderr
    assert Cli("export", "web").stdout == ""


def test_files_that_are_none(tmp_path, paused):
    paused()
    for path, status in ((str(tmp_path), 1), ("/dev/zero", 2), (str(tmp_path / "none"), 1)):
        said = Cli("import", "web", path, check=False)
        assert (said.status, said.stdout) == (status, ""), said.stderr
    # these are what they lead to
    (tmp_path / "list").write_text("8080:80\n")
    (tmp_path / "link").symlink_to(tmp_path / "list")
    assert Cli("import", "web", str(tmp_path / "link")).status == 0
    os.mkfifo(tmp_path / "fifo")
    with subprocess.Popen(["sh", "-c", f"echo 8081:81 > {tmp_path}/fifo"]):
        assert Cli("import", "web", str(tmp_path / "fifo")).status == 0
    assert Cli("export", "web").stdout == "8080:80\n8081:81\n"


@pytest.mark.parametrize("label", ["two\nlines", "a\ttab", "'quo\"te' <&> \\", "\u202egnp.exe", "\u009b31m", "$(reboot) `x`; #", " = "],
                         ids=["newline", "tab", "quotes", "reordered", "c1", "shell", "spaces"])
def test_hostile_labels(paused, label):
    """What can be given comes back the same by every format, or it cannot be given; no output has a control character."""
    paused()
    added = Cli("add", "web", "8080:80", "--label", label, check=False)
    outputs = [added.stderr]
    if added.status == 0:
        for form in ("list", "json", "xml"):
            exported = Cli("export", "web", "--format", form).stdout
            Cli("remove", "web", "--all")
            status, _, error = feed(exported, "web", "-")
            assert status == 0, (form, exported, error)
        [forward] = json.loads(Cli("list", "--json", "web").stdout)
        assert forward["label"] == label
        for verb in (("list", "web"), ("list", "web", "--json"), ("explain", "web", "8080"), ("doctor", "web"), ("url", "web")):
            outputs.append(Cli(*verb, check=False).stdout)
    else:
        assert added.status == 2
    for output in outputs:
        assert not CONTROL.search(output), output


def test_a_dry_run_makes_nothing(daemon, paused):
    paused()
    with socket.create_server(("127.0.0.1", 8282)), Watch("web") as watch:
        assert Cli("add", "web", "8080:80", "--dry-run").stdout == "8080\n"
        assert Cli("add", "web", "8282:80", "--dry-run").stdout == "8283\n"
        assert Cli("add", "web", "8282:80", "--dry-run", "--on-busy", "fail", check=False).status == 5
        assert Cli("add", "web", "8080:80", "--dry-run", "--host-address", "0.0.0.0", check=False).status == 6
        assert refused(8080) and refused(8283)
        Cli("add", "web", "8285:80", "--name", "last")
        assert Cli("add", "web", "8286:80", "--name", "last", "--dry-run", check=False).status == 2
        assert Cli("add", "web", "8285:81", "--dry-run").stdout == "8286\n"
        watch.wait("added", name="last")
        assert [event["event"] for event in watch.events] == ["added"], watch.events
    assert Cli("export", "web").stdout == "8285:80 name=last\n"
