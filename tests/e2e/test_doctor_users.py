# SPDX-License-Identifier: LGPL-2.1-or-later
"""`virt-forward doctor` for ordinary users, with the real polkitd: alice is nobody, bob is in the group libvirt."""
import contextlib
import os
import socket
import subprocess

import pytest

from lab import findings, programs, wait
from lab import guest as guests
from lab.findings import causes
from test_bus import NAME, owned, polkit, run, system_bus

POLICY = "/usr/share/polkit-1/actions/org.virtforward1.policy"
NOT_CHECKED = {"firewall", "programs", "denials"}


@pytest.fixture(scope="module", autouse=True)
def accounts():
    subprocess.run(["groupadd", "-f", "libvirt"], check=True)
    subprocess.run(["useradd", "-M", "alice"], check=True)
    subprocess.run(["useradd", "-M", "-G", "libvirt", "bob"], check=True)
    os.makedirs("/run/dbus", exist_ok=True)


@pytest.fixture
def served(nothing_left, request):
    with system_bus(), polkit():
        daemon = request.getfixturevalue("daemon")
        wait.until(lambda: owned(NAME), "virt-forwardd owns its name")
        yield daemon


def doctor(user):
    return findings.doctor("--connect", "qemu:///system", user=user)


@causes("polkit-refuses", "firewall", "programs")
def test_polkits_answer(served, guest):
    web = guest("web", guests.forwards("<vf:forward guest-port='80' host-port='8080'/>"), start=False)
    web.start_paused()
    served.wait_forward(name=None, state="waiting")
    refused = [one for one in doctor("alice") if one["id"] == "polkit-refuses"]
    assert [one["message"].split()[3] for one in refused] == [f"{NAME}.{verb}" for verb in ("read", "add", "remove")]
    assert "usermod --append --groups libvirt alice" in refused[0]["fix"]
    bobs = doctor("bob")
    assert "polkit-refuses" not in {one["id"] for one in bobs}
    assert {one["id"] for one in bobs if one["severity"] == "not-checked"} <= NOT_CHECKED
    assert {"firewall", "programs"} <= {one["id"] for one in bobs}, "what is for root to see is said to be unseen"


@causes("polkit-actions-missing")
def test_actions_missing(served):
    os.rename(POLICY, POLICY + ".away")
    try:
        wait.until(lambda: "polkit-actions-missing" in {one["id"] for one in doctor("bob")},
                   "polkit has noticed that the actions are gone")
    finally:
        os.rename(POLICY + ".away", POLICY)


def test_whose_the_port_is_without_the_right_to_see_more(served, guest):
    guest("web", guests.forwards("<vf:forward guest-port='80' host-port='8080' on-busy='fail'/>"), start=False)
    with socket.create_server(("127.0.0.1", 8080)):
        status, out, error = run("virsh", "start", "--paused", "web")
        assert status == 0, error
        served.wait_forward(state="port-busy")
        status, out, error = run(programs.CLI, "--connect", "qemu:///system", "explain", "web", "8080", user="bob")
        assert status == 0, error
        assert "8080 on 127.0.0.1 is held by a program of user root (run as root to see the process)" in out


@causes("daemon", "domains", "polkit", "hook", "policy")
@pytest.mark.parametrize("left", ("nothing", "its socket"))
def test_without_a_bus(daemon, left):
    """Then the daemon is for root alone; and so are here the folder of hooks and the host policy."""
    os.makedirs("/etc/virt-forward/virt-forward.conf.d", exist_ok=True)
    os.chmod("/etc/virt-forward", 0o700)
    with contextlib.suppress(FileNotFoundError):
        os.unlink("/run/dbus/system_bus_socket")  # of an earlier one
    if left == "its socket":
        with socket.socket(socket.AF_UNIX) as bus:
            bus.bind("/run/dbus/system_bus_socket")
        os.chmod("/run/dbus/system_bus_socket", 0o666)
    os.chmod("/etc/libvirt/hooks", 0o700)
    try:
        said = doctor("bob")
        found = {one["id"]: one["severity"] for one in said}
        assert found == dict.fromkeys(found, "not-checked"), found
        assert "no message bus answers" in next(one["message"] for one in said if one["id"] == "daemon")
        status, _, error = run(programs.CLI, "list", user="bob")
        assert status == 6 and "systemctl start dbus.socket" in error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink("/run/dbus/system_bus_socket")
        os.chmod("/etc/libvirt/hooks", 0o755)
        os.chmod("/etc/virt-forward", 0o755)
