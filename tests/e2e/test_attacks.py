# SPDX-License-Identifier: LGPL-2.1-or-later
"""What short-cuts in the kernel could open or hand to the wrong one, tried by who would want that: a guest, a
peer on its bridge, another machine on the LAN, and by accident a service of the host's."""
import concurrent.futures
import contextlib
import glob
import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from lab import guest as guests
from lab import networks, wait
from lab.programs import Cli
from lab.transfer import HostService, assert_served, http_get, kernel_peer, wait_http

HOST = "192.168.122.1"
SECRET = 9090  # a host service on loopback that nobody else may reach
# name -> (host port, offload), all of them to the guest's web server
FORWARDS = {
    "web": {"web-r": (8080, "redirect"), "web-n": (8082, "nftables")},
    "sibling": {"sib-r": (8090, "redirect"), "sib-n": (8092, "nftables")},
}


def definition(name):
    return "".join(f"<vf:forward name='{forward}' guest-port='80' host-port='{port}' offload='{offload}'/>"
                   for forward, (port, offload) in FORWARDS[name].items())


def page(name):
    return f"virt-forward lab guest {name}\n".encode()


@pytest.fixture(scope="module")
def daemon(shared_daemon):
    return shared_daemon


@pytest.fixture(scope="module")
def booted(daemon, shared_guest):
    made = {name: shared_guest(name, guests.forwards(definition(name))) for name in FORWARDS}
    for name in made:
        take_past_the_relay(daemon, name)
    return made


@pytest.fixture(scope="module")
def web(booted):
    return booted["web"]


@pytest.fixture(scope="module")
def sibling(booted):
    return booted["sibling"]


def take_past_the_relay(daemon, name):
    """Until each forward of the guest has its short-cut."""
    for forward, (port, offload) in FORWARDS[name].items():
        assert wait_http(port) == page(name)
        wait.until(lambda p=port, f=forward, o=offload: http_get(p) and daemon.wait_forward(name=f).get("offload") == o,
                   f"{forward} is taken by {offload}")


def peer_beside(*booted):
    taken = [one.address() for one in booted]
    return networks.Peer(next(a for a in (f"192.168.122.{n}" for n in (250, 249, 248)) if a not in taken))


def table():
    done = subprocess.run(["nft", "list", "table", "ip", "virt_forward"], capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else ""


def goes_to(port):
    """Where a connection to 127.0.0.1:port ends up, as far as sockets tell."""
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        return kernel_peer(client)


# --- host services


@pytest.mark.parametrize("offload", ["redirect", "nftables"])
def test_a_service_that_was_there_first(daemon, web, offload):
    with HostService(8100):
        moved = int(Cli("add", "web", "8100:80", "--name", "moved", "--offload", offload).stdout)
        assert moved != 8100
        assert_served(moved, "web")
        daemon.wait_forward(name="moved", offload=offload)
        for _ in range(5):
            assert http_get(8100) == HostService.PAGE
            assert http_get(moved) == page("web")
        done = Cli("add", "web", "8100:80", "--name", "strict", "--on-busy", "fail", "--offload", offload, check=False)
        assert done.status == 5, done.stderr
        assert http_get(8100) == HostService.PAGE
        Cli("remove", "web", "moved")
        Cli("remove", "web", "strict", check=False)


# --- addresses of others


THIEF = """
import socket
with socket.create_server(("0.0.0.0", 80)) as door:
    print("ready", flush=True)
    while True:
        client, _ = door.accept()
        print("caught", flush=True)
        client.close()
"""


@contextlib.contextmanager
def thief(peer):
    """A server on port 80 of the peer, on whatever address: its process."""
    process = subprocess.Popen(peer.command(sys.executable, "-c", THIEF), stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    yield process
    process.kill()
    process.wait(10)
    process.stdout.close()


def mac_of(address):
    words = subprocess.run(["ip", "neigh", "show", "to", address, "dev", "virbr0"], capture_output=True, text=True).stdout.split()
    return words[words.index("lladdr") + 1] if "lladdr" in words else None


def applied(daemon, name):
    return daemon.wait_forward(name=name).get("offload", "none")


def assert_in_dispute(daemon, address, poison):
    """Once the address is claimed by somebody else, no short-cut leads there."""
    def out():
        poison()
        return (all(applied(daemon, name) == "none" for name in FORWARDS["web"]) and address not in table())

    wait.until(out, f"no short-cut leads to {address}", 20)
    for _ in range(3):
        for port, _ in FORWARDS["web"].values():
            # the relay takes them, and resets them rather than send them to who claims the address
            with contextlib.suppress(OSError):
                assert goes_to(port) == f"127.0.0.1:{port}"
            with contextlib.suppress(OSError):
                assert http_get(port, timeout=2) == page("web")


def assert_out_of_dispute(daemon, web, address):
    def back():
        web.run(f"arping -U -c 1 -w 1 -I eth0 {address}; ping -c 1 -W 1 {HOST}; true")
        return daemon.wait_forward(name="web-r")["guest"].get("address") == address

    wait.until(back, "the address is the guest's again", 60)
    take_past_the_relay(daemon, "web")


def test_a_peer_claims_a_guest_s_address(daemon, web, sibling):
    address = web.address()
    own = mac_of(address)
    with peer_beside(web, sibling) as peer, thief(peer) as caught:
        peer.run("ip", "address", "add", f"{address}/32", "dev", "eth0")

        def poison():
            peer.run("busybox", "arping", "-U", "-c", "1", "-w", "1", "-I", "eth0", address, check=False)

        wait.until(lambda: poison() or mac_of(address) != own, "the host would send to the peer")
        assert_in_dispute(daemon, address, poison)
        os.set_blocking(caught.stdout.fileno(), False)
        # what the address's new owner caught before anybody could know of it
        caught.stdout.read()
        for port, _ in FORWARDS["web"].values():
            with contextlib.suppress(OSError):
                http_get(port, timeout=2)
        assert not caught.stdout.read(), "a connection was sent to the peer"
    # The claim goes with its machine.
    assert_out_of_dispute(daemon, web, address)


def test_a_guest_claims_an_address_of_the_host_or_the_lan(daemon, web, sibling):
    own, mac = sibling.address(), sibling.macs()[0]
    with networks.Lan() as lan, HostService(80, HOST):
        for foreign in (HOST, lan.PEER, lan.HOST):
            sibling.run(f"ip addr add {foreign}/32 dev eth0; arping -U -c 2 -w 1 -I eth0 {foreign}; true")
            if foreign != HOST:  # as if the kernel believed it
                subprocess.run(["ip", "neigh", "replace", foreign, "lladdr", mac, "dev", "virbr0", "nud", "reachable"],
                               check=True)
            for port, _ in FORWARDS["sibling"].values():
                with contextlib.suppress(OSError):  # one that takes the host's address for its own does not answer it
                    assert http_get(port, timeout=1) == page("sibling")
            for name in FORWARDS["sibling"]:
                assert daemon.wait_forward(name=name)["guest"]["address"] == own
            assert f". 8092 : {own} . 80" in table() and f": {foreign} ." not in table()
            sibling.run(f"ip addr del {foreign}/32 dev eth0")
        assert http_get(80, host=HOST) == HostService.PAGE
        # Even where it has no other.
        for foreign in (HOST, lan.PEER):
            sibling.run(f"readdress eth0 {foreign}/24; arping -U -c 2 -w 1 -I eth0 {foreign}; true")
            subprocess.run(["ip", "neigh", "flush", "dev", "virbr0", "to", own], check=True)
            for port, _ in FORWARDS["sibling"].values():
                with pytest.raises(OSError):
                    http_get(port, timeout=2)
            for name in FORWARDS["sibling"]:
                assert daemon.wait_forward(name=name)["guest"].get("address") != foreign
            assert f": {foreign} ." not in table()
    sibling.run("redhcp eth0")
    take_past_the_relay(daemon, "sibling")


# --- the LAN


def test_the_lan_reaches_no_more_than_before(daemon, web):
    address = web.address()
    ports = [port for port, _ in FORWARDS["web"].values()]
    with networks.Lan() as lan, HostService(SECRET):
        lan.run("ip", "route", "add", "192.168.122.0/24", "via", lan.HOST)
        lan.run("sysctl", "-q", "-w", "net.ipv4.conf.all.route_localnet=1", "net.ipv4.conf.lan1.route_localnet=1")
        lan.run("ip", "link", "set", "lo", "down")
        lan.run("ip", "route", "add", "127.0.0.1", "via", lan.HOST)
        with open("/proc/sys/net/ipv4/ip_forward", encoding="ascii") as file:
            assert file.read().strip() == "1", "as libvirt sets it"

        def reached():
            tried = [(lan.HOST, port) for port in ports] + [("127.0.0.1", port) for port in (*ports, SECRET)]
            tried += [(address, 80)] + [(address, port) for port in ports] + [(HOST, port) for port in ports]
            with concurrent.futures.ThreadPoolExecutor(len(tried)) as all_at_once:
                return dict(zip(tried, all_at_once.map(lambda where: lan.page(*where), tried)))

        daemon.stop()
        before = reached()
        daemon.start()
        daemon.wait_connected()
        take_past_the_relay(daemon, "web")
        after = reached()
        assert after == before
        assert not any(after.values()), after
        # It could have: what is on all addresses it gets.
        with HostService(8110, lan.HOST):
            assert lan.page(lan.HOST, 8110) == HostService.PAGE


# --- the host's loopback


KNOCK = """
import itertools, select, socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
    for number in itertools.count(1):
        for address in sys.argv[2:]:
            try:
                door.sendto(b"%d" % number, (address, int(sys.argv[1])))
            except OSError:
                pass
        select.select([], [], [], 0.0005)
"""


class Knocker:
    """A peer that sends datagrams to the host's 127.0.0.1 all the time, each followed by one to the host's address
    on the bridge: once that has come, so has the first one, or never will. Use it in a with statement."""

    PORT = 9191

    def __init__(self, machine):
        self._machine = machine

    def __enter__(self):
        run = self._machine.run
        # no loopback of its own, and no objection to such addresses
        run("ip", "link", "set", "lo", "down")
        run("sysctl", "-q", "-w", "net.ipv4.conf.all.route_localnet=1", "net.ipv4.conf.all.rp_filter=0",
            "net.ipv4.conf.eth0.route_localnet=1", "net.ipv4.conf.eth0.rp_filter=0")
        run("ip", "route", "add", "127.0.0.1", "via", HOST, "dev", "eth0")
        self._doors = []
        for address in ("127.0.0.1", HOST):
            door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            door.bind((address, self.PORT))
            self._doors.append(door)
        self._process = subprocess.Popen(
            self._machine.command(sys.executable, "-c", KNOCK, str(self.PORT), "127.0.0.1", HOST))
        self.came_in()
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait(10)
        for door in self._doors:
            door.close()

    def came_in(self):
        """Whether any knock of those since the last call, and of at least twenty more, has arrived at 127.0.0.1."""
        loopback, bridge = self._doors
        bridge.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                bridge.recv(64)
        bridge.settimeout(10)
        for _ in range(20):
            bridge.recv(64)
        loopback.setblocking(False)
        came = False
        with contextlib.suppress(BlockingIOError):
            while loopback.recv(64):
                came = True
        return came


def is_open_to(guest):
    """Whether the guest gets the host's secret."""
    status, output = guest.run(f"timeout 3 wget -q -O - http://127.0.0.1:{SECRET}/", check=False)
    return status == 0 and HostService.PAGE.decode() in output


@pytest.fixture
def attacker(web):
    """The guest, as one that looks for loopback addresses on the host."""
    web.run(f"ip addr del 127.0.0.1/8 dev lo; ip route add 127.0.0.1 via {HOST} dev eth0; "
            "for link in all eth0; do echo 1 > /proc/sys/net/ipv4/conf/$link/route_localnet; "
            "echo 0 > /proc/sys/net/ipv4/conf/$link/rp_filter; done")
    yield web
    web.run("ip route del 127.0.0.1; ip addr add 127.0.0.1/8 dev lo")


def route_localnet():
    with open("/proc/sys/net/ipv4/conf/virbr0/route_localnet", encoding="ascii") as file:
        return int(file.read())


def test_the_host_s_loopback(daemon, attacker, sibling):
    """Out of reach of guest and peer, whatever happens to the daemon and to the ruleset."""
    with HostService(SECRET), peer_beside(attacker, sibling) as peer, Knocker(peer) as knocker:
        def assert_closed(when):
            assert not knocker.came_in(), f"open to a peer, {when}"
            assert not is_open_to(attacker), f"open to the guest, {when}"
            assert not knocker.came_in(), f"open to a peer, {when}"

        assert route_localnet() != 0, "else it proves nothing"
        assert_closed("daemon alive")
        for _ in range(5):
            subprocess.run(["nft", "flush", "ruleset"], check=True)
            assert not knocker.came_in(), "open to a peer, the ruleset being flushed"
        assert_closed("the ruleset flushed")
        take_past_the_relay(daemon, "web")
        # until the guard table is back: it is what stands when the daemon does not
        wait.until(guard_stands, "the guard is back", 5)

        daemon.kill(signal.SIGKILL)
        assert route_localnet() != 0, "else it proves nothing"
        assert not table()
        assert_closed("daemon killed")

        # All of the above could have failed: without the guard they are in.
        subprocess.run(["nft", "delete", "table", "ip", "virt_forward_guard"], check=True)
        assert knocker.came_in()
        assert peer.page("127.0.0.1", SECRET) == HostService.PAGE
        assert is_open_to(attacker)

        daemon.start()
        daemon.wait_connected()
        take_past_the_relay(daemon, "web")
        knocker.came_in()
        assert_closed("daemon started again")

        daemon.stop()
        assert route_localnet() == 0
        assert not guard_stands() and not table()
        assert_closed("daemon stopped")
        daemon.start()
        daemon.wait_connected()
        take_past_the_relay(daemon, "web")


def guard_stands():
    done = subprocess.run(["nft", "list", "table", "ip", "virt_forward_guard"], capture_output=True, text=True)
    return done.returncode == 0


# --- what stays


@pytest.mark.parametrize("end", ["SIGTERM", "SIGKILL"])
def test_the_daemon_s_end_leaves_no_short_cut(daemon, web, end):
    """A forward and its relay stay, entries do not; the sysctl and its guard only after SIGKILL, until the next
    daemon has read that nothing of it is wanted."""
    with contextlib.ExitStack() as closing:
        for port, _ in FORWARDS["web"].values():
            closing.enter_context(socket.create_connection(("127.0.0.1", port), 10))
        daemon.kill(getattr(signal, end))
        assert not table()
        for port, _ in FORWARDS["web"].values():
            assert goes_to(port) == f"127.0.0.1:{port}", "the relay serves"
            assert http_get(port) == page("web")
        if end == "SIGTERM":
            assert route_localnet() == 0 and not guard_stands()
    daemon.start()
    daemon.wait_connected()
    take_past_the_relay(daemon, "web")


def test_a_guest_claims_its_sibling_s_address(daemon, web, sibling):
    address, mac = web.address(), sibling.macs()[0]
    sibling.run(f"ip addr add {address}/32 dev eth0")

    def poison():
        sibling.run(f"arping -U -c 1 -w 1 -I eth0 {address}; true")

    wait.until(lambda: poison() or mac_of(address) == mac, "the host would send to the sibling")
    assert_in_dispute(daemon, address, poison)
    for name in FORWARDS["sibling"]:
        assert daemon.wait_forward(name=name)["guest"].get("address") != address
    # The claim ends with its run.
    sibling.domain.destroy()
    assert_out_of_dispute(daemon, web, address)


def host_services(ports):
    """Host services that take over what forwards had."""
    services = contextlib.ExitStack()
    for port in ports:
        wait.until(lambda p=port: services.enter_context(HostService(p)), f"port {port} is free", 10)
    return services


def left_of(address):
    """What the kernel still has of forwards to this address: elements and connections."""
    flows = subprocess.run(["conntrack", "-L", "-p", "tcp", "--orig-dst", "127.0.0.1"], capture_output=True, text=True,
                           check=True).stdout
    whole = re.compile(rf"(?<![0-9.]){re.escape(address)}(?![0-9])")
    return [line.strip() for line in table().splitlines() + flows.splitlines()
            if whole.search(line) and ("ESTABLISHED" in line or "tcp" not in line)]


def nothing_left_of(address):
    left = left_of(address)
    if left:
        raise OSError(str(left))  # not yet; the wait's end tells of it
    return True


@pytest.mark.parametrize("end", ["daemon alive", "daemon killed", "daemon and relay killed"])
def test_a_service_that_comes_after_the_domain(daemon, sibling, end):
    """Whoever has the port next gets his own connections, and what went past the relay is cut."""
    if not sibling.is_running():
        sibling.start()
        take_past_the_relay(daemon, "sibling")
    ports = [port for port, _ in FORWARDS["sibling"].values()]
    address = sibling.address()
    clients = [socket.create_connection(("127.0.0.1", port), 10) for port in ports]
    relay_was_held = end == "daemon killed"
    if end != "daemon alive":
        daemon.kill(signal.SIGKILL)
    sibling.domain.destroy()
    if end == "daemon and relay killed":
        daemon.kill_relay(signal.SIGKILL)
    if relay_was_held:  # the relay lives on, and holds the ports against everybody
        for port in ports:
            with pytest.raises(OSError):
                HostService(port)
        daemon.start()
        daemon.wait_connected()
    with host_services(ports):
        for _ in range(5):
            for port in ports:
                assert http_get(port) == HostService.PAGE
                assert goes_to(port) == f"127.0.0.1:{port}"
        if not daemon.running:
            daemon.start()
            daemon.wait_connected()
        for port in ports:
            assert http_get(port) == HostService.PAGE
        wait.until(lambda: not daemon.forwards("sibling"), "the sibling's forwards are gone")
        wait.until(lambda: nothing_left_of(address), "nothing of them is left in the kernel", 10)
    for client, (_, offload) in zip(clients, FORWARDS["sibling"].values()):
        # What a killed daemon had redirected, no other can tell from a connection to the guest itself: it ends by
        # what TCP makes of a guest that is gone.
        if end == "daemon alive" or offload == "nftables":
            client.settimeout(5)
            with contextlib.suppress(ConnectionResetError, ConnectionAbortedError):
                assert client.recv(1) == b""
        client.close()
    take_past_the_relay(daemon, "web")


def test_a_domain_s_end_sets_the_bridge_back(daemon, web, sibling):
    """With the last forward that needs it the sysctl goes, and comes with the next."""
    for one in (web, sibling):
        if one.is_running():
            one.domain.destroy()
    wait.until(lambda: route_localnet() == 0, "route_localnet is off", 10)
    marked = [path for path in glob.glob("/proc/sys/net/ipv4/conf/*/route_localnet")
              if open(path, encoding="ascii").read().strip() != "0"]
    assert not marked
    elements = [line for line in table().splitlines() if "elements" in line]
    assert not elements, elements
