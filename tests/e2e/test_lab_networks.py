# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lab's networks besides "default": guests boot there, and who reaches whom is as on a real host."""
import contextlib

import pytest

from lab import guest as guests
from lab import networks, wait
from lab.transfer import http_get, wait_http


@pytest.fixture
def network(connection, nothing_left):
    """network(NAME) makes one of networks.NETWORKS."""
    with contextlib.ExitStack() as closing:
        yield lambda name: closing.enter_context(networks.network(connection, name))


def page(name):
    return f"virt-forward lab guest {name}\n".encode()


def test_two_nics(network, guest):
    network("second")
    two = guest("two", interfaces=[guests.interface(), guests.interface("second")])
    for nic in ("eth0", "eth1"):
        address = wait.until(lambda nic=nic: [a for a in two.addresses(nic) if ":" not in a], f"an address of {nic}", 60)
        assert wait_http(80, host=address[0]) == page("two")
    two.close()


def test_ipv6_only(network, guest):
    network("six")
    six = guest("six", interfaces=[guests.interface("six")])
    addresses = wait.until(six.addresses, "an address by SLAAC", 60)
    assert all(address.startswith("fd00:6:") for address in addresses)
    assert wait_http(80, host=addresses[0]) == page("six")
    six.close()


@pytest.mark.parametrize("name", ["routed", "open"])
def test_network_without_nat(network, guest, name):
    network(name)
    web = guest("web", interfaces=[guests.interface(name)])
    assert wait_http(80, host=web.address()) == page("web")
    web.close()


@pytest.mark.parametrize("mode", ["bridge", "private", "vepa"])
def test_macvtap(guest, nothing_left, mode):
    """The LAN reaches such a guest, the host does not."""
    with networks.Lan() as lan:
        direct = guest("direct", interfaces=[lan.interface(mode)], cmdline="vf.address=eth0,192.168.130.5/24")
        wait.until(lambda: lan.page("192.168.130.5") == page("direct"), "the guest serves the LAN", 60)
        with pytest.raises(OSError):
            http_get(80, host="192.168.130.5", timeout=2)
        assert lan.run("busybox", "ping", "-c", "1", "-W", "2", lan.HOST), "the host itself is there"
        direct.close()


def test_bridge_of_the_host(guest, nothing_left):
    """Both reach it."""
    with networks.Lan(bridge=True) as lan:
        bridged = guest("bridged", interfaces=[lan.interface()], cmdline="vf.address=eth0,192.168.130.5/24")
        assert wait_http(80, host="192.168.130.5") == page("bridged")
        assert lan.page("192.168.130.5") == page("bridged")
        bridged.close()
