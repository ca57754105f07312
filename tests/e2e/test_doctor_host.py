# SPDX-License-Identifier: LGPL-2.1-or-later
"""`virt-forward doctor`: what it reads of the host's systemd, logs and libraries."""
import contextlib
import glob
import os
import shutil
import socket
import subprocess

import pytest

from lab import wait
from lab.findings import causes, doctor, finding, ids

RUNTIME = "/run/lab/manager"
MANAGER = {"XDG_RUNTIME_DIR": RUNTIME, "XDG_CONFIG_HOME": f"{RUNTIME}/config", "XDG_DATA_HOME": f"{RUNTIME}/data"}
BUS = {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={RUNTIME}/bus"}
# As each log has its lines. A profile and a policy that forbid are not to be had in every kernel.
AUDIT = 'type=AVC msg=audit(1700000000.123:45): apparmor="DENIED" operation="exec" profile="libvirtd" ' \
        'name="/usr/sbin/virt-forward-hook" pid=812 comm="rpc-libvirtd" requested_mask="x" denied_mask="x" fsuid=0 ouid=0\n'
KERNEL = 'Nov 29 20:00:00 lab kernel: [   99.123456] audit: type=1400 audit(1700000000.123:45): apparmor="DENIED" ' \
         'operation="open" profile="virt-forward-hook" name="/run/virt-forward/hook.sock" pid=812 comm="virt-forward-ho" ' \
         'requested_mask="wr" denied_mask="wr" fsuid=0 ouid=0\n'
SELINUX = 'type=AVC msg=audit(1700000002.001:311): avc:  denied  { execute } for  pid=1412 comm="rpc-virtqemud" ' \
          'name="virt-forward-hook" dev="dm-0" ino=1313 scontext=system_u:system_r:virtqemud_t:s0 ' \
          'tcontext=system_u:object_r:default_t:s0 tclass=file permissive=0\n'
OTHERS = 'type=AVC msg=audit(1700000003.001:312): apparmor="DENIED" operation="open" profile="firefox" ' \
         'name="/etc/fstab" pid=9 comm="firefox" requested_mask="r" denied_mask="r"\n' \
         'type=AVC msg=audit(1700000003.002:313): apparmor="ALLOWED" operation="exec" profile="libvirtd" ' \
         'name="/usr/sbin/virt-forward-hook" pid=9 comm="rpc-libvirtd"\n'


@pytest.fixture(scope="module")
def daemon(shared_daemon):
    assert doctor() == []
    return shared_daemon


# --- systemd

@contextlib.contextmanager
def control_group():
    """Of its own, for what makes groups below; gives the file that takes processes."""
    root = next(path for path in ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup") if os.path.exists(f"{path}/cgroup.procs"))
    path = f"{root}/virt-forward-lab-{os.getpid()}"
    os.mkdir(path)
    try:
        yield f"{path}/cgroup.procs"
    finally:
        for folder, _, _ in os.walk(path, topdown=False):
            os.rmdir(folder)


def systemctl(*arguments):
    subprocess.run(["systemctl", "--user", "--quiet", *arguments], check=True, env=dict(os.environ, **MANAGER))


def named(unit):
    return subprocess.run(["busctl", "--quiet", f"--address={BUS['DBUS_SYSTEM_BUS_ADDRESS']}", "status", unit],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


@pytest.fixture
def booted():
    """A host that says systemd runs it."""
    os.makedirs("/run/systemd/system")
    yield
    os.rmdir("/run/systemd/system")


@pytest.fixture
def systemd(booted):
    """A real systemd with our system's units. It is a user's manager, which needs no machine of its own."""
    units = f"{MANAGER['XDG_DATA_HOME']}/systemd/user"
    os.makedirs(units)
    os.chmod(RUNTIME, 0o700)
    for unit in glob.glob("/usr/lib/systemd/system/virt-forward*"):
        shutil.copy(unit, units)
    for unit in glob.glob("/usr/lib/systemd/user/virt-forward*"):
        os.unlink(unit)  # or they would be these
    with control_group() as processes, open("/run/lab/systemd.log", "wb") as log:
        def enter():
            with open(processes, "w", encoding="ascii") as file:
                file.write(str(os.getpid()))

        manager = subprocess.Popen(["/lib/systemd/systemd", "--user"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                   preexec_fn=enter, env=dict(os.environ, **MANAGER))
        try:
            wait.until(lambda: os.path.exists(f"{RUNTIME}/bus") and named("org.freedesktop.systemd1"), "systemd answers", 20)
            yield units
        finally:
            manager.terminate()  # it stops what it started
            manager.wait(60)
            shutil.rmtree(RUNTIME)


@causes("units-disabled", "units-masked", "units-missing")
def test_units(daemon, systemd):
    one = finding("units-disabled", environment=BUS)
    assert one["subject"] == "virt-forward.target"
    assert one["fix"] == "systemctl enable --now virt-forward.target"
    systemctl("enable", "virt-forward.target")  # which wants the sockets
    assert doctor(environment=BUS) == []

    systemctl("mask", "virt-forward-ssh.socket")
    one = finding("units-masked", environment=BUS)
    assert ids(environment=BUS) == ["units-masked"] and one["fix"] == "systemctl unmask virt-forward-ssh.socket"
    systemctl(*one["fix"].split()[1:])
    assert doctor(environment=BUS) == []

    os.unlink(f"{systemd}/virt-forwardd.socket")
    systemctl("daemon-reload")
    one = finding("units-missing", environment=BUS)
    assert (one["severity"], one["subject"]) == ("error", "virt-forwardd.socket")


@causes("units")
def test_systemd_cannot_be_asked(daemon, booted):
    one = finding("units")
    assert one["severity"] == "not-checked" and one["message"].startswith("whether the units are enabled: ")


# --- logs

@contextlib.contextmanager
def log(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    assert not os.path.exists(path)
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    try:
        yield
    finally:
        os.unlink(path)


@pytest.mark.parametrize("path, line, subject, rule, file", [
    ("/var/log/audit/audit.log", AUDIT, "/usr/sbin/virt-forward-hook", "/usr/sbin/virt-forward-hook rPUx,",
     "usr.sbin.libvirtd"),
    ("/var/log/kern.log", KERNEL, "/run/virt-forward/hook.sock", "/run/virt-forward/hook.sock wr,", "virt-forward-hook"),
], ids=["auditd", "kernel"])
@causes("apparmor-denied")
def test_apparmor(daemon, path, line, subject, rule, file):
    with log(path, OTHERS + line + line):
        [one] = doctor()
        assert (one["id"], one["severity"], one["subject"]) == ("apparmor-denied", "error", subject)
        assert f"echo '{rule}' >> /etc/apparmor.d/local/{file} && " in one["fix"]
    with log(path, OTHERS):
        assert doctor() == []


@causes("selinux-denied")
def test_selinux(daemon):
    with log("/var/log/audit/audit.log", SELINUX + SELINUX.replace("denied ", "granted ")):
        [one] = doctor()
        assert one["id"] == "selinux-denied" and "virtqemud_t" in one["message"] and "restorecon" in one["fix"]


@causes("denials")
def test_no_log_can_be_read(daemon):
    """Not even by root: there is nothing to open there."""
    with socket.socket(socket.AF_UNIX) as nothing:
        nothing.bind("/run/lab/nothing")
        subprocess.run(["mount", "--bind", "/run/lab/nothing", "/dev/kmsg"], check=True)
        try:
            one = finding("denials")
            assert one["severity"] == "not-checked" and "/dev/kmsg" in one["message"]
            with log("/var/log/kern.log", KERNEL):
                assert ids() == ["apparmor-denied"]
        finally:
            subprocess.run(["umount", "/dev/kmsg"], check=True)
            os.unlink("/run/lab/nothing")


# --- libraries

@causes("libvirt")
def test_without_libvirts_library(daemon):
    [path] = glob.glob("/usr/lib/*/libvirt.so.0")
    os.rename(path, path + ".away")
    try:
        one = finding("libvirt")
        assert one["severity"] == "not-checked" and one["message"] == "libvirt.so.0 is not installed"
    finally:
        os.rename(path + ".away", path)
    assert doctor() == []
