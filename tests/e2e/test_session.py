# SPDX-License-Identifier: LGPL-2.1-or-later
"""qemu:///session: everything as an ordinary user, beside the system's daemon, without a privilege."""
import contextlib
import json
import os
import pwd
import select
import shutil
import signal
import socket
import subprocess

import pytest

from lab import guest as guests
from lab import host, programs, wait
from lab.transfer import LOOPBACK, answer, refused, wait_refused

DOMAIN = """
<domain type='qemu'>
  <name>mine</name>
  <metadata>{metadata}</metadata>
  <memory unit='MiB'>32</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <interface type='user'><model type='virtio'/></interface>
    <memballoon model='none'/>
  </devices>
</domain>
"""


def end(pid, number=signal.SIGTERM):
    """Ends a process that need not be a child, and waits for that."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    os.kill(pid, number)
    select.select([descriptor], [], [], 20)
    os.close(descriptor)


class User:
    """The account nobody with a home, a runtime directory and a session libvirtd."""

    def __init__(self):
        self.account = pwd.getpwnam("nobody")
        self.runtime = f"/run/user/{self.account.pw_uid}"
        self.home = "/run/lab/home"
        for directory in (self.runtime, self.home):
            os.makedirs(directory, mode=0o700)
        os.makedirs(f"{self.home}/.config/libvirt")
        with open(f"{self.home}/.config/libvirt/qemu.conf", "w", encoding="ascii") as file:
            file.write('stdio_handler = "file"\n')  # no virtlogd that outlives the test
        for top in (self.runtime, self.home):
            for directory, _, files in os.walk(top):
                for path in [directory] + [os.path.join(directory, name) for name in files]:
                    os.chown(path, self.account.pw_uid, self.account.pw_gid)
        self.daemon = None

    def command(self, *words):
        return ["setpriv", f"--reuid={self.account.pw_uid}", f"--regid={self.account.pw_gid}", "--clear-groups", "--",
                "env", "-i", f"HOME={self.home}", f"XDG_RUNTIME_DIR={self.runtime}", "PATH=/usr/bin:/usr/sbin", *words]

    def run(self, *words, check=True):
        done = subprocess.run(self.command(*words), capture_output=True, text=True, timeout=60, cwd="/",
                              stdin=subprocess.DEVNULL)
        assert not check or done.returncode == 0, done.stderr
        return done

    def virsh(self, *words, check=True):
        return self.run("virsh", "-q", "-c", "qemu:///session", *words, check=check)

    def define(self, body):
        path = "/run/lab/session.xml"
        with open(path, "w", encoding="utf-8") as file:
            file.write(DOMAIN.format(metadata=guests.forwards(body)))
        self.virsh("define", path)
        os.unlink(path)

    def start_daemon(self):
        with open(programs.LOG, "ab") as log:
            self.daemon = subprocess.Popen(self.command(programs.DAEMON), stdin=subprocess.DEVNULL, stdout=log,
                                           stderr=log, cwd="/")
        wait.until(lambda: "connected to libvirt" in programs.Daemon.log(), "the user's daemon is connected")

    def forwards(self, *options):
        return json.loads(self.run(programs.CLI, "list", "--json", *options).stdout)

    def wait_forward(self, **wanted):
        return wait.until(lambda: next((f for f in self.forwards() if all(f.get(k) == v for k, v in wanted.items())),
                                       None), f"a forward with {wanted}")

    def close(self):
        with contextlib.suppress(FileNotFoundError):
            with open(f"{self.runtime}/libvirt/libvirtd.pid", encoding="ascii") as file:
                end(int(file.read()))
        if self.daemon is not None:
            end(self.daemon.pid)
            status = self.daemon.wait(20)
            for pid in host.processes("virt-forward-relay"):
                if os.stat(f"/proc/{pid}").st_uid == self.account.pw_uid:
                    end(pid)
            print(programs.Daemon.log())
            assert status == 0
            programs.Daemon().check_log()
            left = {name for name in os.listdir(f"{self.runtime}/virt-forward")} - {"ports", "relay.sock"}
        for directory in (self.runtime, self.home):
            shutil.rmtree(directory)
        assert self.daemon is None or not left, left


@pytest.fixture
def user(request, nothing_left):
    if "daemon" in request.fixturenames:
        request.getfixturevalue("daemon")  # its log is a fresh one
    elif os.path.exists(programs.LOG):
        os.unlink(programs.LOG)
    one = User()
    yield one
    one.virsh("destroy", "mine", check=False)
    one.virsh("undefine", "mine", check=False)
    one.close()


def test_session_daemon(user):
    user.define("<vf:forward name='web' guest-port='80' host-port='8080'/>"
                "<vf:forward name='low' guest-port='80' host-port='80'/>")
    user.start_daemon()
    for path in ("bus.sock", "hook.sock", "relay.sock"):
        info = os.stat(f"{user.runtime}/virt-forward/{path}")
        assert (info.st_uid, info.st_mode & 0o777) == (user.account.pw_uid, 0o600), path
    assert not os.path.exists("/run/virt-forward")
    assert user.forwards() == []

    user.virsh("start", "mine", "--paused")
    forward = user.wait_forward(name="web", state="waiting")
    wait.until(lambda: "no network interface on a bridge" in user.wait_forward(name="web")["reason"], "the reason")
    assert forward["host"] == {"addresses": list(LOOPBACK), "port": 8080, "requested-port": 8080}
    low = user.wait_forward(name="low", state="denied")
    assert "privileged" in low["reason"]
    assert answer(8080) == "reset"
    for pid in host.processes("virt-forwardd") + host.processes("virt-forward-relay"):
        assert os.stat(f"/proc/{pid}").st_uid == user.account.pw_uid

    assert user.run(programs.CLI, "add", "mine", "8081:81").stdout == "8081\n"
    assert "8081" in user.virsh("metadata", "mine", guests.NAMESPACE).stdout
    user.run(programs.CLI, "remove", "mine", "8081")
    user.virsh("destroy", "mine")
    wait_refused(8080)
    assert user.forwards() == []
    assert [f["state"] for f in user.forwards("--all")] == ["inactive"] * 2


def test_hook_reaches_the_users_daemon(user):
    user.define("<vf:forward name='must' guest-port='80' host-port='8080' required='yes' on-busy='fail'/>")
    refusal = user.virsh("start", "mine", "--paused", check=False)
    assert refusal.returncode == 1 and "virt-forwardd" in refusal.stderr, "no daemon, no required forward"
    user.start_daemon()
    with socket.create_server(("127.0.0.1", 8080)):
        refusal = user.virsh("start", "mine", "--paused", check=False)
        assert refusal.returncode == 1
        assert "8080 is in use by another program" in refusal.stderr
    user.virsh("start", "mine", "--paused")
    assert not refused(8080)


def test_beside_the_systems_daemon(daemon, guest, user):
    """One port for two users: the second one moves; each sees its own."""
    guest("web", guests.forwards("<vf:forward guest-port='80' host-port='8080'/>"), start=False).start_paused()
    daemon.wait_forward(domain="web", host_port=8080)
    user.define("<vf:forward name='web' guest-port='80' host-port='8080'/>")
    before = daemon.log()
    user.daemon = subprocess.Popen(user.command(programs.DAEMON), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
    wait.until(lambda: user.run(programs.CLI, "list", check=False).returncode == 0, "the user's daemon answers")
    user.virsh("start", "mine", "--paused")
    wait.until(lambda: [f["host"]["port"] for f in user.forwards()] == [8081], "the user's forward moved")
    assert [f["host"]["port"] for f in daemon.forwards()] == [8080]
    assert before == daemon.log()
