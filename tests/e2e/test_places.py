# SPDX-License-Identifier: LGPL-2.1-or-later
"""Forwards where guests and hosts are not as on a laptop with the network "default": which short-cut is taken
there, what serves where none can be, and that people are told."""
import contextlib
import json
import os
import re
import subprocess
import tempfile
from xml.etree import ElementTree

import pytest

from lab import guest as guests
from lab import networks, programs, wait
from lab.programs import Cli
from lab.transfer import LOOPBACK, Echo, assert_served, http_get, kernel_peer

DROP_IN = "/etc/virt-forward/virt-forward.conf.d/50-places.conf"
# NICs of the guest "multi": network -> (its address there, host port of a redirected forward to that address)
NICS = {"default": ("192.168.122.60", 8080), "second": ("192.168.126.60", 8081), "routed": ("192.168.127.60", 8082),
        "open": ("192.168.128.60", 8083)}
BRIDGES = {"default": "virbr0", "second": "virbr2", "routed": "virbr3", "open": "virbr4"}
NFT = 10  # a forward by nftables has a host port that much higher


def forward(name, port, extra=""):
    return f"<vf:forward name='{name}' guest-port='80' host-port='{port}' {extra}/>"


def multi_forwards():
    body = ""
    for network, (address, port) in NICS.items():
        pinned = "" if network == "default" else f"guest-address='{address}'"
        body += forward(network, port, pinned)
        body += forward(f"{network}-nft", port + NFT, f"offload='nftables' {pinned}")
    return guests.forwards(body + forward("plain", 8100, "offload='none'"))


@pytest.fixture(scope="module")
def made_networks(libvirtd, nothing_left_of_module):
    with contextlib.ExitStack() as closing:
        for name in ("second", "six", "routed", "open"):
            closing.enter_context(Network(libvirtd, name))
        yield


class Network:
    """One of networks.NETWORKS that a test may destroy and make again."""

    def __init__(self, libvirtd, name):
        self._libvirtd, self._name = libvirtd, name

    def create(self):
        body = networks.NETWORKS[self._name]
        if self._name == "six":
            # without the DNS server, which would begin to listen when the first guest's link comes
            body = body.replace("<ip ", "<dns enable='no'/><ip ")
        self._libvirtd.connection.networkCreateXML(f"<network><name>{self._name}</name>{body}</network>")

    def destroy(self):
        self._libvirtd.connection.networkLookupByName(self._name).destroy()

    def __enter__(self):
        self.create()
        return self

    def __exit__(self, *_):
        self.destroy()


@pytest.fixture(scope="module")
def daemon(made_networks, shared_daemon):
    return shared_daemon


@pytest.fixture(scope="module")
def booted(daemon, shared_guest):
    """All of them at once: multi has four NICs and static addresses, six has IPv6 alone."""
    multi = shared_guest("multi", multi_forwards(), [guests.interface(network) for network in NICS], cmdline=" ".join(
        f"vf.address=eth{number},{address}/24" for number, (address, _) in enumerate(NICS.values())))
    six = shared_guest("six", guests.forwards(forward("six", 8084) + forward("six-nft", 8094, "offload='nftables'")),
                       [guests.interface("six")], cmdline="vf.address=eth0,fd00:6::2/64")
    announce(multi)
    six.run("until ping -6 -c 1 fd00:6::1; do sleep 0.1; done")
    return multi, six


@pytest.fixture(scope="module")
def multi(daemon, booted):
    for network, (_, port) in NICS.items():
        assert_short_cut(daemon, "multi", network, port, "redirect")
        assert_short_cut(daemon, "multi", f"{network}-nft", port + NFT, "nftables")
    return booted[0]


@pytest.fixture(scope="module")
def six(booted):
    return booted[1]


def announce(multi):
    """Static addresses are known by packets."""
    multi.run("; ".join(f"ping -c 1 -W 2 {address.rpartition('.')[0]}.1" for address, _ in NICS.values()) + "; true")


def assert_short_cut(daemon, guest, name, port, offload, host="127.0.0.1"):
    """Connections get through, and then past the relay."""
    wait.until(lambda: http_get(port, host=host, timeout=5) == f"virt-forward lab guest {guest}\n".encode(),
               f"{name} is served", 60)
    try:
        wait.until(lambda: daemon.wait_forward(name=name).get("offload", "none") == offload, f"{name} goes by {offload}", 10)
    except wait.Timeout as timeout:
        raise wait.Timeout(f"{timeout}; the ways are: {ways(guest, name)}") from None
    assert http_get(port, host=host) == f"virt-forward lab guest {guest}\n".encode()


def leads_to(port, host="127.0.0.1"):
    """The kernel's peer of a connection to a forward."""
    with Echo(port, host) as client:
        return kernel_peer(client._socket)


def ways(guest, name):
    return {way["way"]: way for way in json.loads(Cli("explain", guest, name, "--json").stdout)["ways"]}


def nft_forwards():
    """{host port: guest address} of the table's map of TCP forwards."""
    text = subprocess.run(["nft", "list", "map", "ip", "virt_forward", "tcp_forwards"], capture_output=True, text=True).stdout
    return {int(port): address for port, address in re.findall(r"127\.0\.0\.1 \. ([0-9]+) : ([0-9.]+) \.", text)}


def marked_links():
    found = set()
    for name in os.listdir("/proc/sys/net/ipv4/conf"):
        with open(f"/proc/sys/net/ipv4/conf/{name}/route_localnet", encoding="ascii") as file:
            if file.read().strip() != "0":
                found.add(name)
    return found


# --- places of guests


def test_macvtap(daemon, guest):
    """The host cannot reach it: said with the reason, and no client hangs."""
    with networks.Lan() as lan:
        direct = guest("direct", guests.forwards(forward("d", 8070)), [lan.interface()], start=False).start()
        view = wait.until(lambda: [f for f in daemon.forwards("direct") if "macvtap" in f.get("reason", "")], "it is said")[0]
        assert view["state"] in ("waiting", "failed"), view
        assert "macvtap" in Cli("list", "direct").stdout
        assert "macvtap" in ways("direct", "d")["tcp"]["reason"]
        for host in LOOPBACK:
            with pytest.raises(OSError):
                http_get(8070, host=host, timeout=5)
        direct.close()


def test_several_nics(daemon, multi):
    """Each forward leads to the address that it names, and out of the bridge of that NIC; the one that names none
    to the first NIC's. Two of the networks do not translate addresses ("route", "open")."""
    for network, (address, port) in NICS.items():
        assert daemon.wait_forward(name=network)["guest"]["address"] == address
        assert leads_to(port) == f"{address}:80"
        assert leads_to(port, "::1").endswith(f"{address}]:80") or leads_to(port, "::1") == f"{address}:80"
        assert leads_to(port + NFT) == f"127.0.0.1:{port + NFT}"
    assert nft_forwards() == {port + NFT: address for address, port in NICS.values()}
    assert marked_links() == set(BRIDGES.values())
    bridges = subprocess.run(["nft", "list", "set", "ip", "virt_forward", "bridges"], capture_output=True, text=True).stdout
    assert set(re.findall(r'"(virbr[0-9])"', bridges)) == set(BRIDGES.values())


def test_ipv6_only(daemon, six):
    """[::1] is taken past the relay; 127.0.0.1 cannot be, and the relay serves it. nftables can do neither."""
    assert_served(8084, "six")
    wait.until(lambda: daemon.wait_forward(name="six").get("offload") == "redirect", "it is redirected")
    assert leads_to(8084, "::1") in [f"[{address}]:80" for address in six.addresses()]
    assert leads_to(8084) == "127.0.0.1:8084"
    assert_served(8094, "six")
    assert daemon.wait_forward(name="six-nft").get("offload", "none") == "none"
    assert "127.0.0.1" in ways("six", "six-nft")["nftables"]["reason"]
    assert 8094 not in nft_forwards()


def test_bridge_of_the_host(daemon, multi, guest):
    with networks.Lan(bridge=True) as lan:
        bridged = guest("bridged", guests.forwards(forward("b", 8085) + forward("b-nft", 8095, "offload='nftables'")),
                        [lan.interface()], cmdline="vf.address=eth0,192.168.130.5/24")
        bridged.run(f"ping -c 1 {lan.HOST}")
        assert_short_cut(daemon, "bridged", "b", 8085, "redirect")
        assert_short_cut(daemon, "bridged", "b-nft", 8095, "nftables")
        assert leads_to(8085) == "192.168.130.5:80"
        assert "br0" in marked_links()
        # The other machine has what it had: the guest, and nothing of the forwards.
        assert lan.page("192.168.130.5") == b"virt-forward lab guest bridged\n"
        for port in (8085, 8095):
            assert lan.page(lan.HOST, port) is None
        bridged.close()
        wait.until(lambda: "br0" not in marked_links(), "the bridge is as it was", 10)


# --- what changes meanwhile


def test_an_address_that_changes(daemon, multi):
    """With connections open: they end with the address, and the new ones go where the guest is."""
    address, port = NICS["default"]
    other = "192.168.122.61"
    with Echo(port) as redirected, Echo(port + NFT) as translated:
        assert kernel_peer(redirected._socket) == f"{address}:80"
        multi.run(f"readdress eth0 {other}/24; ping -c 1 192.168.122.1")
        wait.until(lambda: daemon.wait_forward(name="default")["guest"].get("address") == other, "it is known", 30)
        assert_short_cut(daemon, "multi", "default", port, "redirect")
        assert_short_cut(daemon, "multi", "default-nft", port + NFT, "nftables")
        assert leads_to(port) == f"{other}:80"
        assert nft_forwards()[port + NFT] == other
        assert kernel_peer(redirected._socket) == f"{address}:80", "nobody else has it"
        translated.close()
    for network in ("second", "routed", "open"):
        assert leads_to(NICS[network][1]) == f"{NICS[network][0]}:80", "its other forwards stay"
    multi.run(f"readdress eth0 {address}/24; ping -c 1 192.168.122.1")
    wait.until(lambda: daemon.wait_forward(name="default")["guest"].get("address") == address, "it is back", 30)
    assert_short_cut(daemon, "multi", "default", port, "redirect")
    assert_short_cut(daemon, "multi", "default-nft", port + NFT, "nftables")


def test_a_network_restarted_under_the_domain(daemon, multi, libvirtd):
    """Its guest is off the bridge until somebody puts it back: until then no short-cut says otherwise."""
    address, port = NICS["second"]
    network = Network(libvirtd, "second")
    network.destroy()
    network.create()

    def told():
        views = [daemon.wait_forward(name=name) for name in ("second", "second-nft")]
        return all(view.get("offload", "none") == "none" for view in views) and port + NFT not in nft_forwards()

    wait.until(told, "no short-cut is left", 30)
    wait.until(lambda: "virbr2" not in marked_links(), "its bridge is left alone", 10)
    for one in (port, port + NFT):
        with pytest.raises(OSError):
            http_get(one, timeout=3)
    for name in ("default", "routed", "open"):
        assert leads_to(NICS[name][1]) == f"{NICS[name][0]}:80", "its other forwards stay"
    libvirtd.restart()
    tap = ElementTree.fromstring(multi.domain.XMLDesc()).find(
        "./devices/interface/source[@network='second']/../target").get("dev")
    # as libvirtd may have done it
    subprocess.run(["ip", "link", "set", tap, "master", "virbr2", "up"], check=True)

    def back():
        announce(multi)
        return daemon.wait_forward(name="second")["state"] == "active"

    wait.until(back, "its address is known again", 60)
    assert_short_cut(daemon, "multi", "second", port, "redirect")
    assert_short_cut(daemon, "multi", "second-nft", port + NFT, "nftables")
    assert leads_to(port) == f"{address}:80"
    assert marked_links() == set(BRIDGES.values())


# --- what stands beside us


FIREWALL = """
table inet filter_beside {
    chain input {
        type filter hook input priority filter; policy drop;
        ct state invalid drop
        ct state established,related accept
        iifname "lo" accept
        meta l4proto { icmp, icmpv6 } accept
    }
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
    }
}
"""


@contextlib.contextmanager
def nft_rules():
    """As firewalld or ufw: nothing new comes in or passes."""
    subprocess.run(["nft", "-f", "-"], input=FIREWALL, text=True, check=True)
    try:
        yield
    finally:
        subprocess.run(["nft", "delete", "table", "inet", "filter_beside"], check=True)


@contextlib.contextmanager
def docker_rules():
    """As Docker: nothing is forwarded that no rule allows, and its own translation of addresses on localhost."""
    nat = (["OUTPUT", "!", "-d", "127.0.0.0/8", "-m", "addrtype", "--dst-type", "LOCAL", "-j", "DOCKER"],
           ["POSTROUTING", "-s", "172.17.0.0/16", "!", "-o", "docker0", "-j", "MASQUERADE"])
    subprocess.run(["iptables", "-P", "FORWARD", "DROP"], check=True)
    subprocess.run(["iptables", "-t", "nat", "-N", "DOCKER"], check=True)
    for rule in nat:
        subprocess.run(["iptables", "-t", "nat", "-A", *rule], check=True)
    try:
        yield
    finally:
        for rule in nat:
            subprocess.run(["iptables", "-t", "nat", "-D", *rule], check=True)
        subprocess.run(["iptables", "-t", "nat", "-X", "DOCKER"], check=True)
        subprocess.run(["iptables", "-P", "FORWARD", "ACCEPT"], check=True)
        # of iptables itself, and empty: nobody had them before
        subprocess.run(["nft", "delete", "chain", "ip", "nat", "OUTPUT"], check=True)


@pytest.mark.parametrize("rules", [nft_rules, docker_rules])
def test_beside_a_firewall(daemon, multi, rules):
    with Echo(NICS["default"][1]) as redirected, Echo(NICS["default"][1] + NFT) as translated, rules():
        for network, (address, port) in NICS.items():
            for one in (port, port + NFT):
                assert http_get(one) == b"virt-forward lab guest multi\n", (network, one)
            assert leads_to(port) == f"{address}:80"
        for host in LOOPBACK:
            assert http_get(8100, host=host) == b"virt-forward lab guest multi\n"
        assert set(nft_forwards().values()) == {address for address, _ in NICS.values()}
        for client in (redirected, translated):  # and what was open stays
            client._socket.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert b"multi" in client._socket.makefile("rb").read()


def test_a_container(daemon, multi):
    """In a network namespace of its own 127.0.0.1 is its own."""
    port = NICS["default"][1]
    with networks.Peer("192.168.122.250") as box, tempfile.TemporaryDirectory() as pages:
        box.run("ip", "link", "set", "lo", "up")
        for one in (port, port + NFT, 8100):
            assert box.page("127.0.0.1", one) is None
        with open(f"{pages}/index.html", "w", encoding="ascii") as file:
            file.write("its own")
        for one in (port, port + NFT):
            server = subprocess.Popen(box.command("busybox", "httpd", "-f", "-p", f"127.0.0.1:{one}", "-h", pages))
            wait.until(lambda one=one: box.page("127.0.0.1", one) == b"its own", "the container has its own service", 10)
            assert http_get(one) == b"virt-forward lab guest multi\n"
            server.kill()
            server.wait(10)


# --- hosts that lack something


@contextlib.contextmanager
def host_policy(offloads):
    os.makedirs(os.path.dirname(DROP_IN), exist_ok=True)
    with open(DROP_IN, "w", encoding="ascii") as file:
        file.write(f"[host]\noffloads={offloads}\n")
    try:
        yield
    finally:
        os.unlink(DROP_IN)


@contextlib.contextmanager
def without(*capabilities):
    """The daemon's program, run without these."""
    wrapper, real = "/run/lab/virt-forwardd-without", programs.DAEMON
    with open(wrapper, "w", encoding="ascii") as file:
        file.write(f"#!/bin/sh\nexec setpriv --bounding-set {','.join('-' + one for one in capabilities)} {real} \"$@\"\n")
    os.chmod(wrapper, 0o755)
    programs.DAEMON = wrapper
    try:
        yield
    finally:
        programs.DAEMON = real
        os.unlink(wrapper)


# What a host is without -> (how that is made, offload of a forward that leaves the choice, words for the others)
HOSTS = {
    "nftables by policy": (lambda: host_policy("redirect"), "redirect", {"nftables": "not allowed by this host"}),
    "redirect by policy": (lambda: host_policy("nftables"), "nftables", {"redirect": "not allowed by this host"}),
    "both by policy": (lambda: host_policy(""), "none",
                       {"redirect": "not allowed by this host", "nftables": "not allowed by this host"}),
    "eBPF": (lambda: without("bpf", "sys_admin", "perfmon"), "nftables", {"redirect": "CAP_"}),
}


@pytest.mark.parametrize("lacking", HOSTS)
def test_a_host_without(daemon, multi, lacking):
    make, offload, reasons = HOSTS[lacking]
    address, port = NICS["default"]
    daemon.stop()
    try:
        with make():
            daemon.start()
            daemon.wait_connected()
            announce(multi)
            assert_short_cut(daemon, "multi", "default", port, offload)
            assert_served(port, "multi")
            assert leads_to(port) == (f"{address}:80" if offload == "redirect" else f"127.0.0.1:{port}")
            assert (port in nft_forwards()) == (offload == "nftables")
            told = ways("multi", "default")
            for way, words in reasons.items():
                assert told[way]["state"] == "rejected" and words in told[way]["reason"], told
            # the pinned one says it too
            if "nftables" not in reasons:
                assert_short_cut(daemon, "multi", "default-nft", port + NFT, "nftables")
            else:
                assert reasons["nftables"] in daemon.wait_forward(name="default-nft", state="denied")["reason"]
                assert not marked_links()
            daemon.stop()
    finally:
        if daemon.running:
            daemon.stop()
        daemon.start()
        daemon.wait_connected()
    announce(multi)
    for network, (_, one) in NICS.items():
        assert_short_cut(daemon, "multi", network, one, "redirect")
        assert_short_cut(daemon, "multi", f"{network}-nft", one + NFT, "nftables")


@pytest.fixture
def without_ipv6():
    def set_lo(value):
        with open("/proc/sys/net/ipv6/conf/lo/disable_ipv6", "w", encoding="ascii") as file:
            file.write(value)

    set_lo("1")
    yield
    set_lo("0")


def test_a_host_without_ipv6(daemon, multi, without_ipv6):
    """On its loopback: there is no ::1, so forwards are at 127.0.0.1 alone."""
    address, port = NICS["default"]
    daemon.stop()
    daemon.start()
    daemon.wait_connected()
    announce(multi)
    assert_short_cut(daemon, "multi", "default", port, "redirect")
    assert_short_cut(daemon, "multi", "default-nft", port + NFT, "nftables")
    assert daemon.wait_forward(name="default")["host"]["addresses"] == ["127.0.0.1"]
    assert leads_to(port) == f"{address}:80"
    with pytest.raises(OSError):
        http_get(port, host="::1", timeout=3)
