# SPDX-License-Identifier: LGPL-2.1-or-later
"""protocol="udp": datagrams go to the guest and back, as long as the forward is there."""
import errno
import os
import socket

import pytest

from lab import guest as guests
from lab import wait
from lab.programs import Cli
from lab.transfer import LOOPBACK

UDP_ECHO = os.path.join(os.environ.get("VF_BUILD_DIR", ""), "tests/e2e/udp-echo")


def start_echo(guest, port):
    """Brings udp-echo into the guest and starts it there."""
    guest.run("listen 9 'cat > /run/udp-echo'")
    with socket.create_connection((guest.address(), 9), 10) as upload, open(UDP_ECHO, "rb") as program:
        upload.sendall(program.read())
        upload.shutdown(socket.SHUT_WR)
        assert upload.recv(1) == b"", "the end comes when the guest has all of it"
    guest.run("unlisten 9")
    guest.run(f"chmod 755 /run/udp-echo && /run/udp-echo {port}")


class Client:
    """A UDP client of one port; what it sends is to come back to it."""

    def __init__(self, port, host):
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect((host, port))
        self._socket.settimeout(0.5)
        self._said = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def tell(self, size=100):
        """Whether one datagram comes back, as it was. Late ones of before do not count."""
        self._said += 1
        text = (b"%d %d " % (self._said, os.getpid())).ljust(size, b".")
        try:
            self._socket.send(text)
            while True:
                back = self._socket.recv(65536)
                if back == text:
                    return True
        except socket.timeout:
            return False

    def wait_told(self, size=100):
        """As tell(), more than once if need be: a datagram may be lost."""
        wait.until(lambda: self.tell(size), f"{size} bytes come back", 10)

    def is_refused(self):
        """Whether nobody has the port."""
        try:
            return self.tell() and False
        except ConnectionRefusedError:
            return True


def test_there_and_back(daemon, guest):
    web = guest("web", guests.forwards("<vf:forward guest-port='80' host-port='5353'/>"))
    start_echo(web, 5300)

    # tcp/5353 is taken, udp/5353 is not
    assert Cli("add", "web", "5353:5300/udp", "--name", "dns", "--wait").stdout == "5353\n"
    listed = daemon.wait_forward(name="dns", state="active")
    assert listed["protocol"] == "udp" and listed["host"]["port"] == 5353 and "url" not in listed
    assert "5300/udp" in Cli("list", "web").stdout
    no_url = Cli("url", "web", "dns", check=False)
    assert no_url.status == 3 and no_url.stdout == "" and "it is udp" in no_url.stderr
    daemon.wait_forward(protocol="tcp", host_port=5353)

    with Client(5353, "127.0.0.1") as four, Client(5353, "::1") as six:
        for client in (four, six):
            for size in (10, 1400, 9000):  # the last in fragments
                client.wait_told(size)
        wait.until(lambda: daemon.wait_forward(name="dns")["connections"] == 2, "two clients are counted")

        relay = daemon.relay_pids()
        daemon.kill()
        assert four.tell() and six.tell(), "the relay serves without the daemon"
        daemon.start()
        assert daemon.wait_forward(name="dns", state="active")["host"]["port"] == 5353
        assert daemon.relay_pids() == relay
        assert four.tell() and six.tell()

        daemon.kill_relay()
        daemon.wait_forward(name="dns", state="active")
        four.wait_told()
        six.wait_told()

    Cli("remove", "web", "5353:5300/udp")
    for host in LOOPBACK:
        with Client(5353, host) as client:
            wait.until(client.is_refused, f"nobody has udp {host}:5353", 2)
    assert [forward["protocol"] for forward in daemon.forwards("web")] == ["tcp"]


def test_busy_and_not_to_be_had(daemon, guest):
    web = guest("web", guests.forwards("<vf:forward name='dns' guest-port='53' host-port='5353' protocol='udp'/>"),
                start=False)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 5353))
        web.start_paused()
        daemon.wait_forward(name="dns", host_port=5354)
    refused = Cli("add", "web", "5400:54/udp", "--proxy-protocol", "v2", check=False)
    assert refused.status == 1 and "proxy-protocol" in refused.stderr and "udp" in refused.stderr
    # ours are not to be shared either
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError) as caught:
            other.bind(("127.0.0.1", 5354))
        assert caught.value.errno == errno.EADDRINUSE
