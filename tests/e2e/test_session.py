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
import threading

import pytest

from lab import guest as guests
from lab import host, programs, wait
from lab.transfer import LOOPBACK, refused, wait_refused

DOMAIN = """
<domain type='qemu'>
  <name>mine</name>
  <uuid>10ff4ab3-5a0e-4d0c-9a2b-4d1c4ab35a0e</uuid>
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


class Activation:
    """What the user's systemd does with virt-forwardd.socket: listens, and starts the daemon for who connects,
    again after each end of it. One thread; the sockets stay open all the time."""

    def __init__(self, user, *arguments):
        self._user = user
        self._command = user.command("sh", "-c", 'export LISTEN_PID=$$ LISTEN_FDS=2; exec "$@"', "sh", programs.DAEMON,
                                     "--connect=qemu:///session", *arguments)
        self._directory = f"{user.runtime}/virt-forward"
        os.mkdir(self._directory, mode=0o755)
        os.chown(self._directory, user.account.pw_uid, user.account.pw_gid)
        self._sockets = [self._listen(name) for name in ("hook.sock", "bus.sock")]
        self._stop, self._stopped = os.pipe()
        self.statuses = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _listen(self, name):
        path = f"{self._directory}/{name}"
        one = socket.socket(socket.AF_UNIX)
        one.bind(path)
        os.chown(path, self._user.account.pw_uid, self._user.account.pw_gid)
        os.chmod(path, 0o600)
        one.listen(128)
        return one

    def _pass(self):
        high = [os.dup2(one.fileno(), 100 + index) for index, one in enumerate(self._sockets)]
        for index, descriptor in enumerate(high):
            os.dup2(descriptor, 3 + index)
        os.closerange(5, 200)

    def _run(self):
        while True:
            ready = select.select([self._stop, *self._sockets], [], [])[0]
            if self._stop in ready:
                return
            with open(programs.LOG, "ab") as log:
                process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                                           close_fds=False, preexec_fn=self._pass)
            self.statuses.append(process.wait())

    def wait_ended(self, times):
        wait.until(lambda: len(self.statuses) == times, f"the daemon has ended {times} times")
        assert self.statuses == [0] * times
        self._user.wait_gone()
        assert os.listdir(self._directory) in (["hook.sock", "bus.sock"], ["bus.sock", "hook.sock"])

    def close(self):
        for pid in self._user.processes("virt-forwardd"):
            end(pid)
        os.write(self._stopped, b"x")
        self._thread.join(20)
        for one in self._sockets:
            one.close()
        for descriptor in (self._stop, self._stopped):
            os.close(descriptor)
        for name in ("hook.sock", "bus.sock"):
            os.unlink(f"{self._directory}/{name}")


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

    def processes(self, *names):
        """Those of this user."""
        return [pid for name in names for pid in host.processes(name)
                if os.stat(f"/proc/{pid}").st_uid == self.account.pw_uid]

    def wait_gone(self):
        wait.until(lambda: self.processes("virt-forwardd", "virt-forward-relay") == [], "daemon and relay are gone")

    def virsh(self, *words, check=True):
        return self.run("virsh", "-q", "-c", "qemu:///session", *words, check=check)

    def define(self, body):
        path = "/run/lab/session.xml"
        with open(path, "w", encoding="utf-8") as file:
            file.write(DOMAIN.format(metadata=guests.forwards(body)))
        self.virsh("define", path)
        os.unlink(path)

    def start_daemon(self, *arguments):
        with open(programs.LOG, "ab") as log:
            self.daemon = subprocess.Popen(self.command(programs.DAEMON, *arguments), stdin=subprocess.DEVNULL, stdout=log,
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
        status = 0
        if self.daemon is not None:
            end(self.daemon.pid)
            status = self.daemon.wait(20)
        for pid in self.processes("virt-forwardd") + self.processes("virt-forward-relay"):
            end(pid)
        print(programs.Daemon.log() + self.log())
        left = set()
        with contextlib.suppress(FileNotFoundError):
            left = set(os.listdir(f"{self.runtime}/virt-forward")) - {"lock", "ports", "relay.sock"}
        spoken = self.log()
        for directory in (self.runtime, self.home):
            shutil.rmtree(directory)
        assert status == 0
        programs.Daemon().check_log()
        assert not any(mark in spoken for mark in programs.SANITIZER_MARKS)
        assert not left, left

    def log(self):
        """Of daemons that the command line has started."""
        with contextlib.suppress(FileNotFoundError):
            with open(f"{self.home}/.local/state/virt-forward/virt-forwardd.log", encoding="utf-8") as file:
                return file.read()
        return ""


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
    forward = user.wait_forward(name="web", state="active", transport="usernet")
    assert forward["host"] == {"addresses": list(LOOPBACK), "port": 8080, "requested-port": 8080}
    low = user.wait_forward(name="low", state="denied")
    assert "privileged" in low["reason"]
    assert not refused(8080)
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
    wait.until(lambda: os.path.exists(f"{user.runtime}/virt-forward/bus.sock"), "the user's daemon answers")
    user.virsh("start", "mine", "--paused")
    wait.until(lambda: [f["host"]["port"] for f in user.forwards()] == [8081], "the user's forward moved")
    assert [f["host"]["port"] for f in daemon.forwards()] == [8080]
    assert before == daemon.log()


def test_the_command_line_starts_the_daemon(user):
    """No service manager, no bus: the first verb that needs the daemon has it, and later ones find it."""
    assert user.run(programs.CLI, "list", check=False).returncode == 7, "nothing says that a session is meant"
    user.define("<vf:forward name='web' guest-port='80' host-port='8080'/>")
    user.run(programs.CLI, "__complete", "domains", check=False)
    assert user.processes("virt-forwardd") == [], "only verbs that need it start it"

    listed = user.run(programs.CLI, "list", "--all", "--json")
    assert [(f["name"], f["state"]) for f in json.loads(listed.stdout)] == [("web", "inactive")]
    assert listed.stderr == "", "it has its answers before it is asked"
    [pid] = user.processes("virt-forwardd")
    assert os.getsid(pid) == pid
    with open(f"/proc/{pid}/cmdline", encoding="ascii") as file:
        assert file.read().split("\0")[1:3] == ["--connect=qemu:///session", "--exit-when-idle=60"]
    with open(f"/proc/{pid}/environ", encoding="ascii") as file:
        assert f"XDG_RUNTIME_DIR={user.runtime}" in file.read().split("\0")

    user.virsh("start", "mine", "--paused")
    user.wait_forward(name="web", state="active")
    assert user.processes("virt-forwardd") == [pid]


def test_a_question_waits_for_what_libvirt_says(user):
    """A daemon that has just been started is not asked before it knows the domains."""
    user.define("<vf:forward name='web' guest-port='80' host-port='8080'/>")
    with open(f"{user.runtime}/libvirt/libvirtd.pid", encoding="ascii") as file:
        libvirtd = int(file.read())
    os.kill(libvirtd, signal.SIGSTOP)
    try:
        asking = subprocess.Popen(user.command(programs.CLI, "list", "--all", "--json"), stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/")
        wait.until(lambda: "started" in user.log(), "the daemon listens")
        # one that does not wait is started and has answered meanwhile
        other = subprocess.Popen(user.command(programs.DAEMON, "--connect=test:///default", "--bus=none",
                                              f"--runtime-directory={user.runtime}/other"), stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
        address = f"--address=unix:path={user.runtime}/other/bus.sock"
        wait.until(lambda: user.run(programs.CLI, address, "list", check=False).returncode == 0, "the other answers")
        end(other.pid)
        assert other.wait(20) == 0
        assert asking.poll() is None
    finally:
        os.kill(libvirtd, signal.SIGCONT)
    out, err = asking.communicate(timeout=60)
    assert (asking.returncode, err) == (0, "")
    assert [f["name"] for f in json.loads(out)] == ["web"]


def test_command_lines_at_once_start_one_daemon(user):
    """Also over what a daemon that was killed has left."""
    user.define("<vf:forward name='web' guest-port='80' host-port='8080'/>")
    user.run(programs.CLI, "list")
    end(user.processes("virt-forwardd")[0], signal.SIGKILL)
    wait.until(lambda: user.processes("virt-forwardd") == [], "it is gone")
    assert os.path.exists(f"{user.runtime}/virt-forward/bus.sock")
    running = [subprocess.Popen(user.command(programs.CLI, "-c", "qemu:///session", "list", "--all", "--json"),
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                cwd="/") for _ in range(6)]
    for one in running:
        out, err = one.communicate(timeout=60)
        assert (one.returncode, err) == (0, "")
        assert [f["name"] for f in json.loads(out)] == ["web"]
    wait.until(lambda: len(user.processes("virt-forwardd")) == 1, "the others have ended")


def test_what_keeps_it_from_starting_is_said(user):
    """Exit 7, with the reason of the daemon itself."""
    os.makedirs(f"{user.home}/.config/virt-forward")
    with open(f"{user.home}/.config/virt-forward/virt-forward.conf", "w", encoding="ascii") as file:
        file.write("[host]\naddresses = nonsense\n")
    refused_start = user.run(programs.CLI, "-c", "qemu:///session", "list", check=False)
    assert refused_start.returncode == 7
    assert "cannot be started" in refused_start.stderr and "host policy" in refused_start.stderr
    assert user.processes("virt-forwardd") == []


def test_without_a_bus_the_systems_daemon_is_out_of_reach(daemon, user):
    told = user.run(programs.CLI, "-c", "qemu:///system", "list", check=False)
    assert told.returncode == 6
    assert "root" in told.stderr


def test_privileged_ports(user):
    user.define("")
    user.start_daemon()
    user.virsh("start", "mine", "--paused")
    for policy in ([], ["--on-busy", "next"], ["--on-busy", "any"]):
        told = user.run(programs.CLI, "add", "mine", "80:80", *policy, check=False)
        assert (told.returncode, told.stdout) == (6, ""), "not permitted is not busy: no other port instead"
        assert "net.ipv4.ip_unprivileged_port_start is 1024" in told.stderr
    assert user.forwards() == []


def test_a_hook_wakes_the_daemon(user):
    """As virt-manager's start of a domain does: neither a client nor a running daemon, only the sockets."""
    user.define("<vf:forward name='web' guest-port='80' host-port='8080'/>")
    activation = Activation(user, "--exit-when-idle=1")
    try:
        user.virsh("start", "mine", "--paused")
        wait.until(lambda: not refused(8080), "the forward is there")
        [pid] = user.processes("virt-forwardd")
        user.virsh("destroy", "mine")
        activation.wait_ended(1)
        assert refused(8080)

        # a question wakes it as well
        assert [f["state"] for f in user.forwards("--all")] == ["inactive"]
        assert user.processes("virt-forwardd") not in ([], [pid])
        activation.wait_ended(2)

        # and a domain that has no metadata: its ports are forwarded by themselves
        user.virsh("metadata", "mine", guests.NAMESPACE, "--config", "--remove")
        user.virsh("start", "mine", "--paused")
        wait.until(lambda: user.processes("virt-forwardd"), "the daemon runs")
        user.virsh("destroy", "mine")
        activation.wait_ended(3)
    finally:
        activation.close()


def test_who_nobody_wakes_stays_for_domains_that_are_off(user):
    """Without a socket of somebody else's nothing would start it when a domain is started."""
    empty = "/run/lab/empty-node.xml"
    with open(empty, "w", encoding="ascii") as file:
        file.write("<node><cpu><mhz>1000</mhz><model>none</model><active>1</active><nodes>1</nodes><sockets>1</sockets>"
                   "<cores>1</cores><threads>1</threads></cpu><memory>1048576</memory></node>")
    user.define("")
    user.start_daemon("--exit-when-idle=1")
    control = subprocess.Popen(user.command(programs.DAEMON, f"--connect=test://{empty}", "--exit-when-idle=1",
                                            f"--runtime-directory={user.runtime}/control"),
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
    assert control.wait(30) == 0
    assert os.listdir(f"{user.runtime}/control") == ["lock"]
    os.unlink(empty)
    assert user.daemon.poll() is None, "it began before, and has a domain"
    with subprocess.Popen(user.command(programs.CLI, "watch", "--json"), stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, cwd="/") as watch:
        user.virsh("undefine", "mine")
        end(watch.pid, signal.SIGINT)
    assert user.daemon.wait(30) == 0
    user.wait_gone()
    assert os.listdir(f"{user.runtime}/virt-forward") == ["lock"]
