# SPDX-License-Identifier: LGPL-2.1-or-later
"""enter itself. Runs outside any lab: pytest --noconftest tests/e2e/lab/test_enter.py, as root."""
import os
import signal
import subprocess
import tempfile
import time

import pytest

ENTER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "enter")


def enter(*arguments, **options):
    return subprocess.run([ENTER, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60,
                          check=False, **options)


def outside():
    """What a lab might touch on the host."""
    seen = {"interfaces": sorted(os.listdir("/sys/class/net"))}
    for path in ("/proc/self/mountinfo", "/etc/passwd", "/etc/hosts", "/etc/group"):
        with open(path, encoding="utf-8") as file:
            seen[path] = file.read()
    for top in ("/etc/libvirt", "/var/lib/libvirt", "/var/log/libvirt", "/run/libvirt", "/run/lab", "/run/virt-forward"):
        seen[top] = sorted(os.path.join(directory, name) for directory, directories, files in os.walk(top)
                           for name in directories + files)
    return seen


def in_namespace(link):
    """Processes of a PID namespace."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and os.readlink(f"/proc/{entry}/ns/pid") == link:
                found.append(int(entry))
        except OSError:
            pass
    return found


def test_exit_status_passes():
    assert enter("--no-libvirt", "--", "sh", "-c", "exit 7").returncode == 7
    assert enter("--no-libvirt", "--").returncode == 2


def test_libvirt_answers_and_nothing_outside_changes():
    before = outside()
    done = enter("--", "sh", "-c", "virsh net-list --name; touch /etc/x /var/x /run/x; echo x >> /etc/passwd; "
                 "nft add table inet x; echo 1 > /proc/sys/net/ipv4/conf/virbr0/route_localnet")
    assert (done.returncode, done.stdout.strip()) == (0, "default"), done.stderr
    assert outside() == before
    assert not os.path.exists("/etc/x") and not os.path.exists("/var/x") and not os.path.exists("/run/x")


def test_stage_appears_at_its_real_paths():
    with tempfile.TemporaryDirectory(dir="/tmp") as stage:
        hook = f"{stage}/usr/sbin/virt-forward-hook"
        link = f"{stage}/etc/libvirt/hooks/qemu.d/50-virt-forward"
        os.makedirs(os.path.dirname(hook))
        os.makedirs(os.path.dirname(link))
        with open(hook, "w", encoding="ascii") as file:
            file.write("#!/bin/sh\necho hook runs\n")
        os.chmod(hook, 0o755)
        os.symlink("/usr/sbin/virt-forward-hook", link)
        done = enter("--stage", stage, "--", "sh", "-c",
                     "/etc/libvirt/hooks/qemu.d/50-virt-forward; touch /usr/sbin/x; ls -d /usr/bin/virsh")
        assert done.stdout == "hook runs\n/usr/bin/virsh\n", done.stderr
        assert os.listdir(os.path.dirname(hook)) == ["virt-forward-hook"]


def test_account_of_the_relay():
    assert enter("--no-libvirt", "--", "id", "-nu", "virt-forward").stdout == "virt-forward\n"


def test_system_bus_with_polkit():
    done = enter("--no-libvirt", "--polkit", "--", "dbus-send", "--system", "--print-reply", "--dest=org.freedesktop.DBus",
                 "/", "org.freedesktop.DBus.NameHasOwner", "string:org.freedesktop.PolicyKit1")
    assert "boolean true" in done.stdout, done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_killed_lab_leaves_nothing(number):
    before = outside()
    lab = subprocess.Popen([ENTER, "--", "sh", "-c", "readlink /proc/self/ns/pid; exec sleep 600"],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        namespace = lab.stdout.readline().strip()
        assert in_namespace(namespace)
        lab.send_signal(number)
        assert lab.wait(30) == -number
        assert lab.stdout.read() == "", "something in the lab still holds its stdout"
    finally:
        lab.kill()
        lab.wait()
        lab.stdout.close()
    end = time.monotonic() + 10
    while in_namespace(namespace) and time.monotonic() < end:
        time.sleep(0.02)
    assert in_namespace(namespace) == []
    assert outside() == before


def test_three_labs_at_once():
    labs = [subprocess.Popen([ENTER, "--", "virsh", "net-list", "--name"], stdout=subprocess.PIPE, text=True)
            for _ in range(3)]
    assert [lab.communicate(timeout=60)[0].strip() for lab in labs] == ["default"] * 3
    assert [lab.returncode for lab in labs] == [0, 0, 0]
