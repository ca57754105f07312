# SPDX-License-Identifier: LGPL-2.1-or-later
"""The installed hook under a real libvirtd: it hands over every operation, and nothing that happens to it
or to its daemon stops a start or ends a running guest, but a refusal at prepare that was asked for.

The daemon's end of the socket is played here, so that it can misbehave.
"""
import contextlib
import os
import pwd
import select
import shutil
import signal
import socket
import stat
import subprocess
import time

import libvirt
import pytest

from lab import guest as guests
from lab.hook_end import HookEnd

SOCKET = "/run/virt-forward/hook.sock"
PROGRAM = "/usr/sbin/virt-forward-hook"
LINK = "/etc/libvirt/hooks/qemu.d/50-virt-forward"
PLAIN = guests.forwards('<vf:forward guest-port="80" host-port="8080"/>')
REQUIRED = guests.forwards('<vf:forward guest-port="80" host-port="8080" required="yes"/>')
# Without a boot: hooks do not depend on what the guest does.
PAUSED = libvirt.VIR_DOMAIN_START_PAUSED


@pytest.fixture(autouse=True)
def runtime(nothing_left):
    existed = os.path.isdir(os.path.dirname(SOCKET))
    os.makedirs(os.path.dirname(SOCKET), exist_ok=True)
    yield
    if not existed:
        os.rmdir(os.path.dirname(SOCKET))


@pytest.fixture
def listen():
    made = []

    def make(path=SOCKET, answer=None):
        made.append(HookEnd(path, answer))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def stopped_daemon():
    """A daemon that listens and is stopped (SIGSTOP)."""
    program = ("import socket, time; s = socket.socket(socket.AF_UNIX); s.bind(%r); s.listen(128); "
               "print(flush=True); time.sleep(1000)" % SOCKET)
    process = subprocess.Popen(["/usr/bin/python3", "-c", program], stdout=subprocess.PIPE)
    process.stdout.readline()
    process.send_signal(signal.SIGSTOP)
    yield process
    process.kill()
    process.wait()
    process.stdout.close()
    os.unlink(SOCKET)


@pytest.fixture
def full_socket():
    """A listener whose backlog is full."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(SOCKET)
    listener.listen(0)
    queued = []
    while True:
        client = socket.socket(socket.AF_UNIX)
        client.setblocking(False)
        queued.append(client)
        try:
            client.connect(SOCKET)
        except BlockingIOError:
            break
    yield
    for one in queued + [listener]:
        one.close()
    os.unlink(SOCKET)


def start(guest, name, metadata):
    new = guest(name, metadata, start=False)
    new.domain.createWithFlags(PAUSED)
    return new


def refusal(guest, name, metadata):
    """What libvirt says of a start that the hook must refuse."""
    new = guest(name, metadata, start=False)
    with pytest.raises(libvirt.libvirtError) as caught:
        new.domain.createWithFlags(PAUSED)
    assert not new.domain.isActive()
    return str(caught.value)


def survived(guest, pid):
    """The guest is the one of before, also when libvirt has finished reconnecting to it.

    isActive() answers before that. What needs a job of the domain waits, and fails if it was ended.
    """
    guest.domain.memoryStats()
    assert guest.domain.isActive() and guest.pid() == pid


def hook_time(operation, xml):
    """Seconds that libvirt waits for one hook; the best of some, since the machine is busy too."""
    times = []
    for _ in range(8):
        begun = time.monotonic()
        subprocess.run([LINK, "web", operation, "begin", "-"], input=xml.encode(), check=True)
        times.append(time.monotonic() - begun)
    return min(times)


# --- what is handed over


def test_every_operation_is_handed_over(guest, listen, libvirtd):
    daemon = listen()
    web = start(guest, "web", PLAIN)
    for _operation, uuid, wants_answer, element, run in daemon.take("prepare", "start", "started"):
        assert uuid == web.uuid
        assert run == web.domain.ID()
        assert not wants_answer
        assert element.startswith("<vf:forwards xmlns:vf=") and element.endswith("</vf:forwards>")

    def runs(*operations):
        return [message[4] for message in daemon.take(*operations)]

    libvirtd.restart()
    assert runs("reconnect") == [web.domain.ID()]
    web.domain.save("/run/lab/saved")
    assert runs("stopped", "release") == [None, None]
    web.connection.restoreFlags("/run/lab/saved", None, libvirt.VIR_DOMAIN_SAVE_PAUSED)
    assert runs("restore", "prepare", "start", "started") == [None] + 3 * [web.domain.ID()]
    web.domain.destroy()
    daemon.take("stopped", "release")
    os.unlink("/run/lab/saved")


def test_only_prepare_with_required_forwards_asks(guest, listen):
    daemon = listen()
    start(guest, "web", REQUIRED)
    assert [message[2] for message in daemon.take("prepare", "start", "started")] == [True, False, False]


def test_domain_without_forwards_makes_no_connection(guest, listen):
    daemon = listen()
    start(guest, "other", "<x:y xmlns:x='urn:other'/>").domain.destroy()
    start(guest, "web", PLAIN)
    daemon.take("prepare", "start", "started")


def test_large_domain(guest, listen):
    """XML far beyond what a pipe holds, with and without our metadata."""
    daemon = listen()
    padding = "<x:y xmlns:x='urn:other'>" + "x" * 1_500_000 + "</x:y>"
    start(guest, "large2", padding)
    start(guest, "large", PLAIN + padding)
    daemon.take("prepare", "start", "started")


def test_log_line(guest, listen):
    """One line to the journal for each operation, and none for other domains."""
    listen()
    os.makedirs("/run/systemd/journal", exist_ok=True)
    journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    journal.bind("/run/systemd/journal/socket")
    journal.setblocking(False)
    try:
        start(guest, "other", "")
        web = start(guest, "web", PLAIN)
        records = []
        with contextlib.suppress(BlockingIOError):
            while True:
                records.append(journal.recv(65536).decode())
    finally:
        journal.close()
        os.unlink("/run/systemd/journal/socket")
    assert len(records) == 3
    assert f"\nMESSAGE=domain=web uuid={web.uuid} operation=prepare result=delivered\n" in records[0]
    assert "SYSLOG_IDENTIFIER=virt-forward-hook\n" in records[0]


# --- refusals


def test_refusal_is_shown_by_virsh(guest, listen):
    listen(answer="host port 8080 is held by another program")
    web = guest("web", REQUIRED, start=False)
    virsh = subprocess.run(["virsh", "start", "web"], capture_output=True, text=True)
    assert virsh.returncode == 1
    assert "host port 8080 is held by another program" in virsh.stderr
    assert f"virsh edit {web.name}" in virsh.stderr
    assert not web.domain.isActive()


def test_refusal_without_a_daemon(guest):
    message = refusal(guest, "web", REQUIRED)
    assert "virt-forwardd" in message and SOCKET in message


def test_refusal_with_a_stopped_daemon(guest, stopped_daemon):
    assert "virt-forwardd" in refusal(guest, "web", REQUIRED)


def test_refusal_with_a_full_socket(guest, full_socket):
    assert "virt-forwardd" in refusal(guest, "web", REQUIRED)


@pytest.mark.parametrize("name", [
    "a b", "it's", 'say "x"', "$(touch pwned)", "`id`; exit 1", "-x", "--help", "büro 日本 😀",
    "\u009b31mred", "\u202egnp", "é" * 120,
])
def test_hostile_names(guest, listen, name):
    daemon = listen()
    try:
        start(guest, name, REQUIRED).domain.destroy()
    except libvirt.libvirtError as error:
        # some names libvirt or QEMU themselves refuse; the hook must not be the reason
        assert "hook" not in str(error).lower(), error
    assert daemon.messages
    assert not os.path.exists("/pwned")


# --- nothing of this may stop a start


def test_start_without_a_daemon(guest):
    start(guest, "web", PLAIN)


def test_start_with_a_stopped_daemon(guest, stopped_daemon):
    start(guest, "web", PLAIN)


def test_start_with_a_full_socket(guest, full_socket):
    start(guest, "web", PLAIN)


def test_broken_daemon_costs_a_start_no_more_than_its_time(guest, full_socket):
    """Three messages of a start, 250 ms in all. The hooks alone are measured: on a busy machine two starts
    differ by more than that anyway."""
    web = start(guest, "web", PLAIN)
    costs = {operation: hook_time(operation, web.domain.XMLDesc()) for operation in ("prepare", "start", "started")}
    assert sum(costs.values()) <= 0.25, costs


def test_start_with_a_socket_that_is_something_else(guest):
    for make in (lambda: open(SOCKET, "w", encoding="ascii").close(), lambda: os.mkdir(SOCKET),
                 lambda: os.mkfifo(SOCKET), lambda: os.symlink("/dev/null", SOCKET)):
        make()
        try:
            new = start(guest, "web", PLAIN)
            new.close()
        finally:
            os.rmdir(SOCKET) if stat.S_ISDIR(os.lstat(SOCKET).st_mode) else os.unlink(SOCKET)


def test_start_on_a_full_disk(guest, listen):
    """The hook writes no file: a full /run/virt-forward and /tmp are nothing to it."""
    daemon = listen()
    for directory in ("/run/lab/tmp", "/var/tmp"):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "full", directory], check=True)
    try:
        for directory in ("/run/lab/tmp", "/var/tmp"):
            with contextlib.suppress(OSError), open(f"{directory}/fill", "wb") as file:
                file.write(b"x" * 65536)
        start(guest, "web", REQUIRED)
    finally:
        for directory in ("/run/lab/tmp", "/var/tmp"):
            subprocess.run(["umount", directory], check=True)
    daemon.take("prepare", "start", "started")


def test_hook_runs_without_any_library():
    """In a mount namespace where no library is left."""
    shutil.copy(PROGRAM, "/run/lab/hook")
    hide = "".join(f"if [ -d {d} ] && [ ! -L {d} ]; then $b mount -t tmpfs none {d}; fi; "
                   for d in ("/usr/lib64", "/usr/lib", "/usr/lib32"))
    script = (f"b=/run/lab/busybox; {hide} ! /usr/bin/id 2> /dev/null || exit 99; "
              "echo '<domain/>' | exec /run/lab/hook web reconnect begin -")
    shutil.copy(shutil.which("busybox"), "/run/lab/busybox")
    try:
        done = subprocess.run(["unshare", "-m", "/run/lab/busybox", "sh", "-c", script], capture_output=True)
    finally:
        os.unlink("/run/lab/hook")
        os.unlink("/run/lab/busybox")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@contextlib.contextmanager
def instead_of_hook(change):
    """Changes the installed program; puts it back."""
    kept = PROGRAM + ".kept"
    shutil.copy2(PROGRAM, kept)
    os.unlink(PROGRAM)
    try:
        change()
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(PROGRAM)
        os.rename(kept, PROGRAM)


def not_executable():
    shutil.copy(PROGRAM + ".kept", PROGRAM)
    os.chmod(PROGRAM, 0o644)


def cannot_exec():
    with open(PROGRAM, "wb") as file:
        file.write(b"\x7fELF garbage")
    os.chmod(PROGRAM, 0o755)


@pytest.mark.parametrize("change", [lambda: None, not_executable], ids=["dangling", "not-executable"])
def test_removed_package_leaves_starts_and_running_guests_alone(guest, libvirtd, change):
    """A package that is removed leaves at worst a dangling symlink; libvirtd may or may not be restarted."""
    running = start(guest, "running", PLAIN)
    with instead_of_hook(change):
        assert os.path.islink(LINK)
        before = start(guest, "before", REQUIRED)
        pids = {one: one.pid() for one in (running, before)}
        libvirtd.restart()
        for one, pid in pids.items():
            survived(one, pid)
        after = start(guest, "after", REQUIRED)
        pids[after] = after.pid()
    libvirtd.restart()
    for one, pid in pids.items():
        survived(one, pid)


def test_hook_that_cannot_exec_is_why_ours_is_static(guest):
    """What we lean on: libvirt gives such a hook no way out, so ours must not need anything to exec."""
    with instead_of_hook(cannot_exec):
        new = guest("web", "", start=False)
        with pytest.raises(libvirt.libvirtError):
            new.domain.createWithFlags(PAUSED)


# --- reconnect: an exit status but 0 ends a running guest


@pytest.mark.parametrize("trouble", ["absent", "stopped", "full", "silent", "refusing", "file"])
def test_reconnect_leaves_guests_running(request, guest, listen, libvirtd, trouble):
    first = listen()
    web = start(guest, "web", REQUIRED)
    pid = web.pid()
    first.close()
    first.close = lambda: None
    if trouble in ("stopped", "full"):
        request.getfixturevalue({"stopped": "stopped_daemon", "full": "full_socket"}[trouble])
    elif trouble in ("silent", "refusing"):
        listen(answer="silent" if trouble == "silent" else "no")
    elif trouble == "file":
        open(SOCKET, "w", encoding="ascii").close()
    try:
        libvirtd.restart()
        survived(web, pid)
        web.domain.resume()
        assert web.is_running()
    finally:
        if trouble == "file":
            os.unlink(SOCKET)


def test_stop_with_a_broken_daemon(guest, stopped_daemon):
    web = start(guest, "web", PLAIN)
    web.domain.destroy()
    assert not web.domain.isActive()


def test_restore_with_a_broken_daemon(guest, full_socket):
    web = start(guest, "web", PLAIN)
    web.domain.save("/run/lab/saved")
    web.connection.restoreFlags("/run/lab/saved", None, libvirt.VIR_DOMAIN_SAVE_PAUSED)
    os.unlink("/run/lab/saved")
    assert web.domain.isActive()


# --- session domains: the same hook, as an ordinary user

SESSION_DOMAIN = """
<domain type='qemu'>
  <name>mine</name>
  <metadata>{metadata}</metadata>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator><memballoon model='none'/></devices>
</domain>
"""


@pytest.fixture
def user():
    """An ordinary user with a runtime directory: run(*command, stdin=text)."""
    account = pwd.getpwnam("nobody")
    runtime_directory, home = f"/run/user/{account.pw_uid}", "/run/lab/home"
    for directory in (runtime_directory, home):
        os.makedirs(directory, mode=0o700)
        os.chown(directory, account.pw_uid, account.pw_gid)
    os.mkdir(f"{runtime_directory}/virt-forward", 0o700)
    os.chown(f"{runtime_directory}/virt-forward", account.pw_uid, account.pw_gid)
    os.makedirs(f"{home}/.config/libvirt")
    with open(f"{home}/.config/libvirt/qemu.conf", "w", encoding="ascii") as file:
        file.write('stdio_handler = "file"\n')  # no virtlogd that outlives the test
    for directory, directories, _ in os.walk(home):
        for name in directories:
            os.chown(os.path.join(directory, name), account.pw_uid, account.pw_gid)

    class User:
        socket = f"{runtime_directory}/virt-forward/hook.sock"
        uid = account.pw_uid

        @staticmethod
        def run(*command):
            return subprocess.run(
                ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups", "--",
                 "env", "-i", f"HOME={home}", f"XDG_RUNTIME_DIR={runtime_directory}", "PATH=/usr/bin:/usr/sbin",
                 *command], capture_output=True, text=True, timeout=60, cwd="/")

    yield User
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        with open(f"{runtime_directory}/libvirt/libvirtd.pid", encoding="ascii") as file:
            pid = int(file.read())
        descriptor = os.pidfd_open(pid)
        os.kill(pid, signal.SIGTERM)
        select.select([descriptor], [], [], 10)
        os.close(descriptor)
    for directory in (runtime_directory, home):
        shutil.rmtree(directory)


def test_session_domain(user, listen):
    daemon = listen(user.socket)
    os.chown(user.socket, user.uid, -1)
    definition = "/run/lab/session.xml"

    def virsh(*arguments):
        return user.run("virsh", "-c", "qemu:///session", *arguments)

    def define(metadata):
        with open(definition, "w", encoding="utf-8") as file:
            file.write(SESSION_DOMAIN.format(metadata=metadata))
        defined = virsh("define", definition)
        assert defined.returncode == 0, defined.stderr

    define(REQUIRED)
    started = virsh("start", "mine")
    assert started.returncode == 0, started.stderr
    daemon.take("prepare", "start", "started")
    assert virsh("destroy", "mine").returncode == 0
    daemon.take("stopped", "release")
    daemon.answer = "this user's daemon says no"
    refused = virsh("start", "mine")
    assert refused.returncode == 1
    assert "this user's daemon says no" in refused.stderr
    virsh("undefine", "mine")
    os.unlink(definition)
