# SPDX-License-Identifier: LGPL-2.1-or-later
"""Places for guests besides the lab's network "default": other networks of libvirt's, and a LAN with another
machine on it that guests join by macvtap or over a bridge of the host's."""
import contextlib
import subprocess

_DHCP = "<dhcp><range start='{0}.2' end='{0}.9'/></dhcp>"


def _ip(prefix):
    return f"<ip address='{prefix}.1' netmask='255.255.255.0'>{_DHCP.format(prefix)}</ip>"


# By name; each on a bridge of its own, and none routes to another.
NETWORKS = {
    "second": f"<forward mode='nat'/><bridge name='virbr2' stp='off' delay='0'/>{_ip('192.168.126')}",
    "six": "<bridge name='virbr6' stp='off' delay='0'/><ip family='ipv6' address='fd00:6::1' prefix='64'/>",
    "routed": f"<forward mode='route'/><bridge name='virbr3' stp='off' delay='0'/>{_ip('192.168.127')}",
    "open": f"<forward mode='open'/><bridge name='virbr4' stp='off' delay='0'/>{_ip('192.168.128')}",
}


@contextlib.contextmanager
def network(connection, name):
    """One of NETWORKS, for the time of a with statement."""
    made = connection.networkCreateXML(f"<network><name>{name}</name>{NETWORKS[name]}</network>")
    try:
        yield made
    finally:
        made.destroy()


class Machine:
    """Another machine: a network namespace NAMESPACE with one link that leads out of it."""

    NAMESPACE = ""

    def run(self, *command, check=True):
        """Runs a command there; its output."""
        done = subprocess.run(self.command(*command), check=check, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=60)
        return done.stdout

    def command(self, *words):
        """For subprocess: a command that runs there."""
        return ["nsenter", f"--net=/run/netns/{self.NAMESPACE}", "--", *words]

    def page(self, address, port=80):
        """What it gets from a web server; None where it gets nothing."""
        done = subprocess.run(self.command("curl", "-s", "-m", "3", f"http://{address}:{port}/"),
                              stdout=subprocess.PIPE, timeout=60)
        return done.stdout if done.returncode == 0 else None

    @staticmethod
    def _ip(*words):
        subprocess.run(["ip", *words], check=True)


class Peer(Machine):
    """A machine on a bridge of the host, beside the guests; not a domain. Its link is "eth0". Use it in a with
    statement."""

    NAMESPACE = "vf-peer"

    def __init__(self, address, bridge="virbr0"):
        self.address, self._bridge = address, bridge

    def __enter__(self):
        self._ip("netns", "add", self.NAMESPACE)
        self._ip("link", "add", "peer0", "type", "veth", "peer", "name", "eth0", "netns", self.NAMESPACE)
        self._ip("link", "set", "peer0", "master", self._bridge, "up")
        self.run("ip", "address", "add", f"{self.address}/24", "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "up")
        return self

    def __exit__(self, *_):
        self._ip("link", "delete", "peer0")
        self._ip("netns", "delete", self.NAMESPACE)


class Lan(Machine):
    """The host's link "lan0" (192.168.130.1) and behind it another machine (192.168.130.2), a network
    namespace. With bridge=True lan0 is a port of the bridge "br0", which has the address. Use it in a with
    statement."""

    HOST, PEER, PREFIX = "192.168.130.1", "192.168.130.2", 24
    NAMESPACE = "vf-lan"

    def __init__(self, bridge=False):
        self._bridge = bridge

    def __enter__(self):
        self._ip("netns", "add", self.NAMESPACE)
        self._ip("link", "add", "lan0", "type", "veth", "peer", "name", "lan1", "netns", self.NAMESPACE)
        place = "lan0"
        if self._bridge:
            place = "br0"
            self._ip("link", "add", place, "type", "bridge", "forward_delay", "0")
            self._ip("link", "set", "lan0", "master", place)
            self._ip("link", "set", "lan0", "up")
        self._ip("address", "add", f"{self.HOST}/{self.PREFIX}", "dev", place)
        self._ip("link", "set", place, "up")
        for words in (("link", "set", "lo", "up"), ("address", "add", f"{self.PEER}/{self.PREFIX}", "dev", "lan1"),
                      ("link", "set", "lan1", "up")):
            self.run("ip", *words)
        return self

    def __exit__(self, *_):
        if self._bridge:
            self._ip("link", "delete", "br0")
        self._ip("link", "delete", "lan0")
        self._ip("netns", "delete", self.NAMESPACE)

    def interface(self, mode="bridge"):
        """A NIC of a guest on the LAN: over br0 where there is one, else by macvtap in that mode. There is no
        DHCP: give the guest an address (vf.address=eth0,192.168.130.5/24)."""
        if self._bridge:
            return "<interface type='bridge'><source bridge='br0'/><model type='virtio'/></interface>"
        return f"<interface type='direct'><source dev='lan0' mode='{mode}'/><model type='virtio'/></interface>"
