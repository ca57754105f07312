# SPDX-License-Identifier: LGPL-2.1-or-later
"""The libvirt side by itself (libvirt_watch) with a real libvirtd and real guests: reconnecting, and
addresses that the kernel and DHCP tell."""
import os
import signal
import subprocess
import threading

import libvirt
import pytest

from lab import guest as guests
from lab import host, wait
from lab.transfer import wait_http

WATCH = os.path.join(os.environ.get("VF_BUILD_DIR", "build/debug"), "tests/platform/libvirt_watch")
LIVE_CONFIG = libvirt.VIR_DOMAIN_AFFECT_LIVE | libvirt.VIR_DOMAIN_AFFECT_CONFIG


class Watch:
    def __init__(self, uri="qemu:///system"):
        self.lines = []  # (microseconds, words)
        self._process = subprocess.Popen([WATCH, uri], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def pid(self):
        return self._process.pid

    def _read(self):
        for line in self._process.stdout:
            time, *words = line.split()
            self.lines.append((int(time), words))

    def wait(self, *words, after=0, deadline=30.0):
        """The first report from number `after` on that begins with these words; its number."""
        def found():
            return next((i + 1 for i, (_, line) in enumerate(list(self.lines))
                         if i >= after and line[:len(words)] == list(words)), None)

        try:
            return wait.until(found, f"{' '.join(words)} after line {after}", deadline)
        except wait.Timeout as timeout:
            raise wait.Timeout(f"{timeout}; there is {self.lines}") from None

    def wait_addresses(self, guest, *addresses, deadline=60.0):
        """Until the last word on the guest's IPv4 addresses is this."""
        def last():
            said = [line for _, line in list(self.lines) if line[:2] == ["addresses", guest.uuid]]
            return said and [a for a in said[-1][2:] if ":" not in a] == list(addresses)

        try:
            wait.until(last, f"addresses {addresses}", deadline)
        except wait.Timeout as timeout:
            raise wait.Timeout(f"{timeout}; there is {self.lines}") from None

    def cpu_ticks(self):
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    def close(self, deadline=15):
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(deadline)
        self._thread.join(10)
        self._process.stdout.close()
        return status


@pytest.fixture
def watch(nothing_left):
    running = Watch()
    running.wait("resynced")
    yield running
    status = running.close()
    assert status == 0


def test_follows_a_domain(watch, guest, connection):
    vm = guest("web", guests.forwards("<vf:forward guest-port='80'/>"))
    number = watch.wait("domain", "web", "active", "serving")
    watch.wait_addresses(vm, vm.address())
    number = watch.wait("domain", "web", after=number - 1)
    vm.set_forwards("", LIVE_CONFIG)
    number = watch.wait("domain", "web", "active", "serving", after=number)
    vm.domain.suspend()
    vm.domain.resume()
    vm.domain.destroy()
    number = watch.wait("domain", "web", "off", "not-serving", after=number)
    watch.wait_addresses(vm)
    vm.domain.undefine()
    watch.wait("gone", vm.uuid, after=number)


def test_address_comes_with_the_neighbour(watch, guest):
    """The address is told no later than the guest's first packets to the host, from a quiet watch."""
    vm = guest(cmdline="vf.address=eth0,192.168.122.50/24 vf.gateway=192.168.122.1")
    wait_http(80, host="192.168.122.50")
    watch.wait_addresses(vm, "192.168.122.50", deadline=5)


def test_address_changes(watch, guest):
    vm = guest()
    watch.wait_addresses(vm, vm.address())
    vm.run("readdress eth0 192.168.122.77/24 192.168.122.1")
    wait_http(80, host="192.168.122.77")
    watch.wait_addresses(vm, "192.168.122.77")


def test_reboot_keeps_the_address(watch, guest, events):
    vm = guest()
    address = vm.address()
    watch.wait_addresses(vm, address)
    vm.order("reboot -f")
    events.wait("reboot", vm.uuid)
    assert wait_http(80, host=address, deadline=60)
    watch.wait_addresses(vm, address)


def test_a_guest_that_was_there_before(guest):
    vm = guest()
    address = vm.address()
    wait_http(80, host=address)
    late = Watch()
    try:
        late.wait("resynced")
        late.wait_addresses(vm, address, deadline=10)
        # nothing in the neighbour table: the lease says where to ask
        subprocess.run(["ip", "neigh", "flush", "dev", "virbr0"], check=True)
    finally:
        assert late.close() == 0
    again = Watch()
    try:
        again.wait_addresses(vm, address, deadline=10)
    finally:
        assert again.close() == 0


def test_a_static_address_is_found_again(watch, guest):
    """A guest that never speaks to the host is asked for the address that it had the last time."""
    vm = guest(cmdline="vf.address=eth0,192.168.122.50/24 vf.gateway=192.168.122.1")
    wait_http(80, host="192.168.122.50")
    watch.wait_addresses(vm, "192.168.122.50", deadline=5)
    vm.domain.destroy()
    watch.wait_addresses(vm)
    vm.start()
    watch.wait_addresses(vm, "192.168.122.50")


def test_hotplug(watch, guest):
    vm = guest()
    watch.wait_addresses(vm, vm.address())
    nic = guests.interface(mac="52:54:00:77:77:77")
    number = len(watch.lines)
    vm.domain.attachDeviceFlags(nic, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    number = watch.wait("domain", vm.name, "active", after=number)
    assert watch.lines[number - 1][1][-1] == "2"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_libvirtd_dies(watch, guest, libvirtd, number):
    vm = guest()
    address = vm.address()
    watch.wait_addresses(vm, address)
    at = len(watch.lines)
    libvirtd.kill(number)
    watch.wait("connection", "down", after=at, deadline=5)
    libvirtd.start()
    at = watch.wait("connection", "up", after=at)
    at = watch.wait("resynced", after=at)
    watch.wait("domain", vm.name, "active", "serving", after=at)
    # nothing was said against the address meanwhile
    watch.wait_addresses(vm, address, deadline=1)
    assert sum(line[:2] == ["addresses", vm.uuid] and len(line) == 2 for _, line in watch.lines) == 0
    # and it listens again
    libvirtd.connection.lookupByUUIDString(vm.uuid).destroy()
    watch.wait("domain", vm.name, "off", after=at)


@pytest.mark.parametrize("uri, count", [("qemu:///session", "0"), ("test+unix:///default", "1")])
def test_other_drivers(monkeypatch, tmp_path, uri, count):
    # a session's libvirtd starts on demand and ends by itself when nobody is connected
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    before = set(host.processes("libvirtd"))
    other = Watch(uri)
    try:
        other.wait("resynced", count)
    finally:
        assert other.close() == 0
        for pid in set(host.processes("libvirtd")) - before:
            os.kill(pid, signal.SIGTERM)
            wait.until(lambda: not host.alive(pid), "the session's libvirtd has ended")


def test_connections_do_not_leak(watch, libvirtd):
    def descriptors():
        return len(os.listdir(f"/proc/{watch.pid}/fd"))

    before = descriptors()
    for _ in range(5):
        at = len(watch.lines)
        libvirtd.restart()
        watch.wait("resynced", after=watch.wait("connection", "up", after=at))
    wait.until(lambda: descriptors() <= before, "no more descriptors than before")


def test_ends_while_libvirtd_hangs(libvirtd):
    os.kill(libvirtd.pid(), signal.SIGSTOP)
    try:
        stuck = Watch()
        stuck.wait("connection", "down", deadline=15)  # says that nobody answers
        assert stuck.close(deadline=10) == 0
    finally:
        os.kill(libvirtd.pid(), signal.SIGCONT)


def test_idle_costs_nothing(watch, guest):
    vm = guest()
    watch.wait_addresses(vm, vm.address())
    lines, ticks = len(watch.lines), watch.cpu_ticks()
    threading.Event().wait(5)  # the measurement itself
    assert watch.cpu_ticks() - ticks <= 1
    assert len(watch.lines) == lines
