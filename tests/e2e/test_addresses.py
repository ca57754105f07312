# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where a forward leads: to the guest's own address, whatever it is now, and to nobody else's."""
import subprocess

import pytest

from lab import guest as guests
from lab import wait
from lab.transfer import LOOPBACK, assert_served, http_get, refused

BRIDGE = "192.168.122.1"
NETWORKS = {
    "six": "<bridge name='virbr6' stp='off' delay='0'/><ip family='ipv6' address='fd00:6::1' prefix='64'/>",
    "second": "<bridge name='virbr2' stp='off' delay='0'/><ip address='192.168.126.1' netmask='255.255.255.0'/>",
}


@pytest.fixture(scope="module")
def networks(libvirtd, nothing_left_of_module):
    made = [libvirtd.connection.networkCreateXML(f"<network><name>{name}</name>{body}<dns enable='no'/></network>")
            for name, body in NETWORKS.items()]
    yield
    for network in made:
        network.destroy()


@pytest.fixture(scope="module")
def daemon(networks, shared_daemon):
    return shared_daemon


def web_forward(port, extra=""):
    return f"<vf:forward guest-port='80' host-port='{port}' {extra}/>"


@pytest.fixture(scope="module")
def web(daemon, shared_guest):
    booted = shared_guest("web", guests.forwards(web_forward(8080)))
    assert_served(8080, "web")
    return booted


def guest_address(daemon, domain):
    [forward] = daemon.forwards(domain)
    return forward["guest"].get("address") if forward["state"] == "active" else None


def assert_leads_to(daemon, domain, address, deadline=60):
    wait.until(lambda: guest_address(daemon, domain) == address, f"the forward of {domain} leads to {address}", deadline)


def neighbour(address):
    """The MAC that the host sends to for this address."""
    done = subprocess.run(["ip", "neigh", "show", "to", address, "dev", "virbr0"], capture_output=True, text=True)
    words = done.stdout.split()
    return words[words.index("lladdr") + 1] if "lladdr" in words else None


def test_address_changes(daemon, web):
    assert_served(8080, "web")
    first = web.address()
    assert_leads_to(daemon, "web", first)
    web.run(f"readdress eth0 192.168.122.50/24 {BRIDGE}; ping -c 1 {BRIDGE}")
    assert_leads_to(daemon, "web", "192.168.122.50")
    assert_served(8080, "web")
    web.run("redhcp eth0")
    assert_leads_to(daemon, "web", wait.until(lambda: web.address(), "an address by DHCP again"))
    assert_served(8080, "web")


def test_two_interfaces_with_static_addresses(daemon, guest):
    """No DHCP knows them: the guest's own packets tell."""
    two = guest("two", guests.forwards(web_forward(8082) + web_forward(8083, "guest-address='192.168.126.60'")),
                interfaces=[guests.interface(), guests.interface("second")],
                cmdline="vf.address=eth0,192.168.122.60/24 vf.address=eth1,192.168.126.60/24")
    two.run(f"ping -c 1 {BRIDGE}; ping -c 1 192.168.126.1")
    for port, address in ((8082, "192.168.122.60"), (8083, "192.168.126.60")):
        forward = daemon.wait_forward(host_port=port, state="active")
        assert forward["guest"]["address"] == address
        assert_served(port, "two")
    # Where one way ends the other serves.
    two.run("ip link set eth0 down")
    assert_served(8082, "two")


def test_ipv6_alone(daemon, guest):
    """Also a client of 127.0.0.1 is served by a guest that has no IPv4."""
    six = guest("six", guests.forwards(web_forward(8084)), interfaces=[guests.interface("six")],
                cmdline="vf.address=eth0,fd00:6::2/64")
    six.run("until ping -6 -c 1 fd00:6::1; do sleep 0.1; done")
    assert_served(8084, "six")
    own = [word.split("/")[0] for word in six.run("ip -6 -o addr show dev eth0").split() if "/" in word]
    assert guest_address(daemon, "six").split("%")[0] in own


def test_sibling_that_claims_what_is_not_its_own(daemon, web, guest):
    """The address of another guest, then the host's: no client's byte goes where it should not."""
    sibling = guest("sibling", guests.forwards(web_forward(8081)))
    assert_served(8080, "web")
    assert_served(8081, "sibling")
    address, mac = web.address(), sibling.macs()[0]
    assert_leads_to(daemon, "web", address)
    sibling.run(f"ip addr add {address}/32 dev eth0")

    def poisoned():
        sibling.run(f"arping -U -c 1 -w 1 -I eth0 {address}; true")
        return neighbour(address) == mac

    wait.until(poisoned, "the host would send to the sibling")
    wait.until(lambda: guest_address(daemon, "web") is None, "the daemon trusts the address no longer", 5)
    for name in LOOPBACK * 5:
        try:
            page = http_get(8080, host=name, timeout=2)
        except OSError:
            continue
        assert page == b"virt-forward lab guest web\n"
    assert guest_address(daemon, "sibling") != address, "nor does the sibling's forward lead there"

    sibling.run(f"ip addr del {address}/32 dev eth0; readdress eth0 {BRIDGE}/24; arping -U -c 2 -w 2 -I eth0 {BRIDGE}; "
                f"arping -c 1 -w 1 -I eth0 {BRIDGE}; true")
    wait.until(lambda: guest_address(daemon, "sibling") is None or refused(8081), "it is not trusted", 60)
    for name in LOOPBACK:
        with pytest.raises(OSError):
            http_get(8081, host=name)
    assert daemon.forwards("sibling")[0]["guest"].get("address") != BRIDGE

    # With the sibling its claims are gone.
    sibling.domain.destroy()
    web.run(f"arping -U -c 1 -w 1 -I eth0 {address}; until ping -c 1 {BRIDGE}; do sleep 0.1; done")
    assert_served(8080, "web")
