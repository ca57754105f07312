# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lab itself: a guest lives and dies in it as on a real host, and the leak checker sees leaks."""
import os
import signal
import socket
import subprocess

import libvirt
import pytest

from lab import guest as guests
from lab import leaks, wait
from lab.transfer import MIB, Transfer, http_get, refused, wait_http

STOPPED = libvirt.VIR_DOMAIN_EVENT_STOPPED


def lease(connection, mac):
    """The address that the network's DHCP server gave."""
    return next((entry["ipaddr"] for entry in connection.networkLookupByName("default").DHCPLeases()
                 if entry["mac"] == mac), None)


def test_guest_serves_at_its_lease_address(guest, connection):
    web = guest("web")
    address = wait.until(lambda: lease(connection, web.macs()[0]), "a lease", 60)
    assert wait_http(80, host=address) == b"virt-forward lab guest web\n"
    assert web.address() == address


def test_static_address(guest):
    web = guest(cmdline="vf.address=eth0,192.168.122.50/24 vf.gateway=192.168.122.1 "
                        "vf.address=eth0,fd00:6::2/64")
    assert wait_http(80, host="192.168.122.50")
    assert sorted(web.addresses()) == ["192.168.122.50", "fd00:6::2"]


def test_address_changes(guest):
    web = guest()
    first = web.address()
    web.run("readdress eth0 192.168.122.77/24 192.168.122.1")
    assert wait_http(80, host="192.168.122.77")
    assert web.addresses() == ["192.168.122.77"]
    assert first != "192.168.122.77"


def test_reboot(guest, events):
    web = guest()
    wait_http(80, host=web.address())
    web.run("touch /run/before")
    web.order("reboot -f")
    events.wait("reboot", web.uuid)
    assert wait.until(lambda: web.run("test -e /run/before", check=False)[0] == 1, "a new boot", 60)
    wait_http(80, host=web.address())


def test_reset(guest):
    web = guest()
    web.run("touch /run/before")
    web.domain.reset()
    assert wait.until(lambda: web.run("test -e /run/before", check=False)[0] == 1, "a new boot", 60)


def test_shutdown_by_power_button(guest, events):
    web = guest()
    web.run("until pidof acpid; do sleep 0.1; done")
    web.domain.shutdown()
    events.wait("lifecycle", web.uuid, STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN)
    web.wait_off()


def test_panic(guest, events):
    web = guest()
    web.run("until grep -q pvpanic_mmio /proc/modules; do sleep 0.1; done")
    web.order("panic")
    events.wait("lifecycle", web.uuid, STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED)
    web.wait_off()


def test_kill_of_qemu(guest, events):
    web = guest()
    web.run("true")
    os.kill(web.pid(), signal.SIGKILL)
    events.wait("lifecycle", web.uuid, STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED)
    web.wait_off()


def test_save_and_restore(guest, connection):
    web = guest()
    address = web.address()
    path = "/run/lab/saved"
    web.domain.save(path)
    try:
        web.wait_off()
        connection.restore(path)
    finally:
        os.unlink(path)
    assert web.is_running()
    assert wait_http(80, host=address)


def test_suspend_and_resume(guest):
    web = guest()
    address = web.address()
    web.domain.suspend()
    assert web.state()[0] == libvirt.VIR_DOMAIN_PAUSED
    web.domain.resume()
    assert wait_http(80, host=address)


def test_transfer_survives_restart_of_libvirtd(guest, libvirtd):
    web = guest()
    address = web.address()
    wait_http(80, host=address)
    transfer = Transfer(80, 100, host=address)
    try:
        transfer.wait_received(5)
        libvirtd.restart()
        assert transfer.running, "the transfer was over before libvirtd was"
        assert transfer.result() == 100 * MIB
    finally:
        transfer.close()
    assert web.is_running()


def test_transfer_notices_a_break(guest):
    web = guest()
    transfer = Transfer(80, 100, host=wait.until(web.address, "an address"))
    try:
        transfer.wait_received(2)
        web.run("killall blocks")
        assert "ended after" in transfer.failure()
    finally:
        transfer.close()


def test_guest_echo_keeps_half_closed(guest):
    web = guest()
    address = web.address()
    web.run("listen 7 cat")
    with socket.create_connection((address, 7), 10) as client:
        client.sendall(b"question")
        assert client.recv(100) == b"question"
        client.sendall(b" and more")
        client.shutdown(socket.SHUT_WR)
        assert client.makefile("rb").read() == b" and more"
    web.run("unlisten 7")
    assert refused(7, address)


def test_guest_listener_on_loopback_only(guest):
    web = guest()
    address = web.address()
    web.run("http 8000 127.0.0.1")
    assert refused(8000, address)
    assert web.run("wget -q -O - http://127.0.0.1:8000/").startswith("virt-forward lab guest")


def test_ipv6_network(guest, connection):
    network = connection.networkCreateXML("""
        <network><name>dual</name><bridge name='virbr6' stp='off' delay='0'/>
          <ip address='192.168.126.1' netmask='255.255.255.0'><dhcp><range start='192.168.126.2' end='192.168.126.9'/></dhcp></ip>
          <ip family='ipv6' address='fd00:126::1' prefix='64'/></network>""")
    try:
        web = guest(interfaces=[guests.interface(), guests.interface("dual")])
        addresses = wait.until(lambda: [a for a in web.addresses("eth1") if ":" in a], "an address by SLAAC", 60)
        assert wait_http(80, host=addresses[0])
        web.close()
    finally:
        network.destroy()


def test_files_of_a_test(guest):
    files = {"/data/deep/odd": b"12345", "/etc/start/first": b"#!/bin/sh\ncat /data/deep/odd > /run/started\n",
             **guests.program("/usr/bin/getent", "/bin/other"), **guests.program("/bin/busybox", "/data/busybox")}
    web = guest(files=files)
    assert wait.until(lambda: web.run("cat /run/started", check=False)[1] == "12345", "its script has run")
    assert web.run("/data/busybox echo whole") == "whole\n"
    assert web.run("other hosts localhost").split()[1:2] == ["localhost"]


def test_transient_domain(guest):
    web = guest(persistent=False)
    web.run("true")
    web.domain.destroy()
    web.wait_off()


# --- the leak checker must not be blind

def left_by(make):
    """What the leak checker finds after make(), which returns how to clean up."""
    before = leaks.Snapshot()
    undo = make()
    try:
        with pytest.raises(AssertionError) as caught:
            leaks.check(before, 0.1)
        return str(caught.value)
    finally:
        undo()
        leaks.check(before)


def test_leak_checker_sees_a_listener():
    def make():
        listener = socket.create_server(("127.0.0.1", 8080))
        return listener.close

    assert "listener tcp 127.0.0.1:8080" in left_by(make)


def test_leak_checker_sees_a_process():
    def make():
        process = subprocess.Popen(["sleep", "600"])
        return lambda: (process.kill(), process.wait())

    assert "process sleep: sleep 600" in left_by(make)


def test_leak_checker_sees_a_rule():
    def make():
        subprocess.run(["nft", "add", "table", "inet", "left_over"], check=True)
        return lambda: subprocess.run(["nft", "delete", "table", "inet", "left_over"], check=True)

    assert "nft table inet left_over" in left_by(make)


def test_leak_checker_sees_a_socket_file():
    def make():
        os.makedirs(leaks.RUNTIME)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"{leaks.RUNTIME}/left.sock")
        return lambda: (os.unlink(f"{leaks.RUNTIME}/left.sock"), os.rmdir(leaks.RUNTIME))

    assert f"file {leaks.RUNTIME}/left.sock" in left_by(make)


def test_page_by_http_get(guest):
    web = guest("a-b")
    address = web.address()
    wait_http(80, host=address)
    assert http_get(80, "/cgi-bin/env", host=address)
    with pytest.raises(OSError):
        http_get(80, "/nothing", host=address)
