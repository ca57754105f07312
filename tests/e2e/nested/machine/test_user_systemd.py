# SPDX-License-Identifier: LGPL-2.1-or-later
"""An ordinary user's own systemd: its sockets wake the daemon, which ends when nothing needs it."""
import json
import os
import subprocess

import pytest

from lab import guest as guests
from lab import wait
from lab.transfer import refused

UID = 1000
HOME = "/home/tester"
RUNTIME = f"/run/user/{UID}"
SOCKETS = ("virt-forwardd.socket", "virt-forward-relay.socket")
SERVICES = ("virt-forwardd.service", "virt-forward-relay.service")
DOMAIN = """
<domain type='qemu'>
  <name>mine</name>
  <metadata>{metadata}</metadata>
  <memory unit='MiB'>32</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator><memballoon model='none'/></devices>
</domain>
"""


def run(*words, check=True):
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=180, cwd="/")
    assert not check or done.returncode == 0, done.stderr
    return done


def as_user(*words, check=True):
    return run("setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--", "env", "-i", f"HOME={HOME}",
               f"XDG_RUNTIME_DIR={RUNTIME}", "PATH=/usr/bin:/usr/sbin", "ASAN_OPTIONS=detect_leaks=0", *words,
               check=check)


def state(unit, key="ActiveState"):
    return as_user("systemctl", "--user", "show", "--value", "-p", key, unit).stdout.strip()


def wait_states(wanted, what):
    wait.until(lambda: all(state(unit) == wanted for unit in SERVICES), what)


@pytest.fixture(scope="module")
def user():
    """With a systemd of its own, as after a login; the sockets are enabled for everybody."""
    with open("/etc/passwd", "a", encoding="ascii") as passwd, open("/etc/group", "a", encoding="ascii") as group:
        passwd.write(f"tester:x:{UID}:{UID}::{HOME}:/bin/sh\n")
        group.write(f"tester:x:{UID}:\n")
    os.makedirs(f"{HOME}/.config/libvirt")
    with open(f"{HOME}/.config/libvirt/qemu.conf", "w", encoding="ascii") as file:
        file.write('stdio_handler = "file"\n')
    run("chown", "-R", f"{UID}:{UID}", HOME)
    # a session of PAM would say so
    os.makedirs("/run/systemd/system/user@.service.d")
    with open("/run/systemd/system/user@.service.d/runtime.conf", "w", encoding="ascii") as file:
        file.write("[Service]\nPAMName=\nEnvironment=XDG_RUNTIME_DIR=/run/user/%i\n")
    # as installed, but for the wait and for leaks, which sanitizers cannot look for in these units
    for unit in SERVICES:
        os.makedirs(f"/run/systemd/user/{unit}.d")
        with open(f"/run/systemd/user/{unit}.d/test.conf", "w", encoding="ascii") as file:
            file.write("[Service]\nEnvironment=ASAN_OPTIONS=detect_leaks=0\n")
    with open("/usr/lib/systemd/user/virt-forwardd.service", encoding="ascii") as file:
        [start] = [line for line in file if line.startswith("ExecStart=")]
    assert "--exit-when-idle=60" in start
    with open("/run/systemd/user/virt-forwardd.service.d/test.conf", "a", encoding="ascii") as file:
        file.write("ExecStart=\n" + start.replace("--exit-when-idle=60", "--exit-when-idle=2"))
    run("systemctl", "--global", "enable", "virt-forwardd.socket")
    run("systemctl", "daemon-reload")
    run("systemctl", "start", f"user@{UID}.service")
    try:
        yield
    finally:
        as_user("virsh", "-c", "qemu:///session", "destroy", "mine", check=False)
        print(run("journalctl", "--no-pager", "-o", "cat", f"_UID={UID}").stdout)
        run("systemctl", "stop", f"user@{UID}.service")
        run("systemctl", "--global", "disable", "virt-forwardd.socket")


def virsh(*words):
    as_user("virsh", "-q", "-c", "qemu:///session", *words)


def test_wakes_and_ends_and_wakes(user, tmp_path):
    assert [state(unit) for unit in SOCKETS] == ["active"] * 2
    assert [state(unit) for unit in SERVICES] == ["inactive"] * 2
    os.chmod(tmp_path, 0o755)
    path = tmp_path / "mine.xml"
    path.write_text(DOMAIN.format(metadata=guests.forwards("<vf:forward name='web' guest-port='80' host-port='8080'/>")),
                    encoding="utf-8")
    run("install", "-m", "644", str(path), f"{HOME}/mine.xml")

    # libvirt's hook wakes it, as for a domain that virt-manager starts
    virsh("define", f"{HOME}/mine.xml")
    assert state("virt-forwardd.service") == "inactive"
    virsh("start", "mine", "--paused")
    wait.until(lambda: not refused(8080), "the forward is there")
    pid = state("virt-forwardd.service", "MainPID")
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        status = dict(line.split(":\t") for line in file.read().splitlines() if ":\t" in line)
    assert status["Uid"].split() == [str(UID)] * 4
    assert status["CapEff"] == "0000000000000000"
    assert not os.path.exists("/run/virt-forward/bus.sock"), "the system's daemon has no part in it"

    virsh("destroy", "mine")
    wait_states("inactive", "daemon and relay have ended")
    assert [state(unit, "Result") for unit in SERVICES] == ["success"] * 2
    assert [state(unit) for unit in SOCKETS] == ["active"] * 2
    assert refused(8080)

    # so does a question, which is answered at once and rightly
    told = as_user("virt-forward", "list", "--all", "--json")
    assert [(f["name"], f["state"]) for f in json.loads(told.stdout)] == [("web", "inactive")]
    assert told.stderr == ""
    wait_states("inactive", "daemon and relay have ended again")

    # and where the socket was stopped, the command line starts the unit, not a process of its own
    as_user("systemctl", "--user", "stop", "virt-forwardd.socket")
    assert not os.path.exists(f"{RUNTIME}/virt-forward/bus.sock")
    as_user("virt-forward", "list")
    assert state("virt-forwardd.service") == "active"
    wait_states("inactive", "daemon and relay have ended once more")
